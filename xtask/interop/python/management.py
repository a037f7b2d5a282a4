"""What scripts ask of the emulator itself: what happened in it, and what is to happen."""

import time

import requests

import hub


def _call(method, path, timeout=60):
    headers = {"Authorization": f"Bearer {hub.READY['managementToken']}"}
    answer = requests.request(method, hub.READY["managementEndpoint"] + path, headers=headers, timeout=timeout)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def now():
    """The number of the newest entry of the journal."""
    since = 0
    while True:
        last = _call("GET", f"/journal?since={since}&limit=10000")["last"]
        if last == since:
            return since
        since = last


def events(since, count, is_wanted):
    """The events of this kind after entry `since`, when there are so many."""
    found, until = [], time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} events came, not {count}"
        part = _call("GET", f"/journal?since={since}&wait=5")
        found += [entry["event"] for entry in part["entries"] if is_wanted(entry["event"])]
        since = part["last"]
    return found


def disconnect(device_id):
    _call("POST", f"/devices/{device_id}/disconnect")
