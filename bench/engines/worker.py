"""A process that runs cells one after another: a line of JSON in for each, and a line of JSON out.

It ends with its standard input: where its master is killed, it does not go on alone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from typing import Any, TextIO


def main() -> None:
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    del sys.argv[0]  # the rest is the command that started all this, which records tell
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()

    from bench.ingredients import Ingredients  # noqa: PLC0415 - seconds; by now the master can be heard
    from bench.runner import run  # noqa: F401, PLC0415

    ingredients = Ingredients()
    _say(answers, {"ready": True})
    while True:
        _say(answers, _measured(requests.get(), ingredients))


def _listen(requests: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def _measured(text: str, ingredients: Any) -> dict[str, Any]:
    from bench.errors import BenchError  # noqa: PLC0415 - as above
    from bench.files import UnwritableError  # noqa: PLC0415
    from bench.progress import Progress  # noqa: PLC0415
    from bench.run_request import RunRequest  # noqa: PLC0415
    from bench.runner import run  # noqa: PLC0415

    started = time.monotonic()
    try:
        result = run(RunRequest.from_json(text), Progress.silent(), ingredients)
        answer = {"status": "ok", "record": result.record.id, "reused": result.reused}
    except UnwritableError as error:
        answer = {"status": "unwritable", "reason": str(error)}
    except BenchError as error:
        answer = {"status": "failed", "reason": error.message}
    except MemoryError:
        answer = {"status": "failed", "reason": "out of memory"}
    except Exception as error:  # of a third party's code, say: one cell fails, and the others go on
        traceback.print_exc()
        answer = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    return answer | {"seconds": time.monotonic() - started}


def _say(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
