"""One renderer for all procedural data sets.

``category`` says what a description of a kind of object gives (individuals posed in a scene, as meshes with
landmarks); ``renderer`` makes pictures with their annotation of it. ``drawing`` reads top to bottom: z-buffer, paint,
light, glass, foreground, camera, for several frames at once and on any ``backend`` (NumPy on the host, torch on a
device). ``surface`` gives surface coordinates, from which ``bench.surfaces`` derives dense correspondences. ``job``,
``cache`` and ``worker`` render splits once and keep them; ``dataset`` and ``provider`` show them to the rest of the
house. Nothing here is loaded before it is asked for: rendering processes need no torch, unless it renders.
"""
