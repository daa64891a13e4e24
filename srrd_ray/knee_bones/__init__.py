"""The bones and the side of a knee in an image, by rules or by the network that the package ships."""
