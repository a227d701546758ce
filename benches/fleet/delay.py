"""Puts a delay between two network namespaces: SERVERS-PID.

Makes two TUN devices, delay0 here and delay0 in the network namespace of the process SERVERS-PID, and carries every packet
from one to the other after half the round-trip time. Reads that time, in milliseconds, from standard input, a number a
line, and answers "ok" when it holds; ends, and its devices with it, when standard input ends. For kernels without netem.
"""

import collections
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def open_tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def ip(*words, namespace=None):
    inside = ["nsenter", "-t", namespace, "-n"] if namespace else []
    subprocess.run([*inside, "ip", *words], check=True)


def read_all(fd, queue, due):
    """Takes every packet that waits at fd."""
    while True:
        try:
            queue.append((due, os.read(fd, 65536)))
        except BlockingIOError:
            return


def write(fd, packet):
    try:
        os.write(fd, packet)
    except OSError:
        pass  # a full queue drops, as a line does


def main():
    servers = sys.argv[1]
    here, there = open_tun("delay0"), open_tun("delay1")
    ip("link", "set", "delay1", "netns", servers, "name", "delay0")
    ip("addr", "add", "192.0.2.5/30", "dev", "delay0")
    ip("link", "set", "delay0", "up", "txqueuelen", "10000")
    ip("addr", "add", "192.0.2.6/30", "dev", "delay0", namespace=servers)
    ip("link", "set", "delay0", "up", "txqueuelen", "10000", namespace=servers)
    ip("route", "replace", "198.18.0.0/15", "via", "192.0.2.6")
    print("ok", flush=True)

    one_way = 0.0
    # One time for all packets of a direction: the queues stay in the order of their due times.
    lines = {here: (there, collections.deque()), there: (here, collections.deque())}
    inputs = [sys.stdin.fileno(), here, there]
    while True:
        dues = [queue[0][0] for _, queue in lines.values() if queue]
        wait = max(0.0, min(dues) - time.monotonic()) if dues else None
        # select counts in microseconds.
        ready, _, _ = select.select(inputs, [], [], wait)
        for fd in ready:
            if fd == sys.stdin.fileno():
                text = sys.stdin.readline()
                if not text:
                    return
                one_way = float(text) / 2000
                print("ok", flush=True)
            else:
                read_all(fd, lines[fd][1], time.monotonic() + one_way)
        now = time.monotonic()
        for target, queue in lines.values():
            while queue and queue[0][0] <= now:
                write(target, queue.popleft()[1])


main()
