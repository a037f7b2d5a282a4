"""The clients of this workspace as the service at the other end: a program that takes commands as lines of JSON."""

import json
import os
import subprocess

import hub


class PeerError(Exception):
    """What a client answered instead; `code` is the hub's name for it, if it has one."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Peer:
    def __init__(self):
        environment = {
            **os.environ,
            "IOTHUB_CONNECTION_STRING": hub.CONNECTION_STRING,
            "IOTHUB_CA_FILE": hub.READY["caFile"],
        }
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [os.environ["IOTHUB_PEER"]], stdin=pipe, stdout=pipe, text=True, env=environment
        )
        self._count = 0

    def __call__(self, do, **arguments):
        self._count += 1
        command = {"id": self._count, "do": do, **arguments}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        hub.equal(answer["id"], self._count)
        if "error" in answer:
            raise PeerError(answer["error"]["code"], answer["error"]["message"])
        return answer["ok"]

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
