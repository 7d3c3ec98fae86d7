"""What is drawn over images while they are at hand: records hold no images, and reports read none."""
