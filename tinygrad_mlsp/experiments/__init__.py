"""Published effects, shown again on a small scale: each module trains, measures and reports one of them."""
