"""The memory of this process. A file of its own, so that a start-up measurement imports nothing else."""


def memory() -> tuple[int, int]:
    """Bytes that this process holds, and held at most."""
    try:
        with open("/proc/self/status") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["VmRSS"].split()[0]) * 1024, int(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):  # not Linux; there is the peak only
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak, peak
