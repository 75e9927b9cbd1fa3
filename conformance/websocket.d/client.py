"""What Python's `websockets` sees of a site: client.py ADDRESS PORT HOST RELOAD…."""

import asyncio
import os
import sys

import websockets
from websockets.asyncio.client import connect

ADDRESS, PORT, HOST = sys.argv[1], int(sys.argv[2]), sys.argv[3]
RELOAD = sys.argv[4:]
MANY = 1000
passed = 0


def door(path="/"):
    return connect(f"ws://{HOST}{path}", host=ADDRESS, port=PORT, max_size=4 << 20, open_timeout=30, proxy=None)


def check(what, holds):
    global passed
    if not holds:
        sys.exit(f"python websockets: not as it should be: {what}")
    passed += 1


async def main():
    async with door() as one:
        await one.send("grüße")
        check("text comes back", await one.recv() == "grüße")
        large = os.urandom(1 << 20)
        await one.send(large)
        check("1 MiB comes back", await one.recv() == large)
        await one.send(["in ", "three ", "fragments"])
        check("fragments come back as one message", await one.recv() == "in three fragments")
        check("a ping is answered", await asyncio.wait_for(await one.ping(b"are you there"), 5) >= 0)
        for number in range(500):
            await one.send(str(number))
        check("messages keep their order", [await one.recv() for _ in range(500)] == [str(n) for n in range(500)])
        await one.close(4001, "enough")
        check("our close code is agreed to", one.close_code == 4001)
    async with door("/close/4242") as one:
        await one.send("now")
        try:
            await one.recv()
        except websockets.ConnectionClosed as closed:
            check("the application's close code arrives", closed.rcvd.code == 4242)
    many = await asyncio.gather(*(door().__aenter__() for _ in range(MANY)))
    await asyncio.gather(*(one.send(str(number)) for number, one in enumerate(many)))
    answers = await asyncio.gather(*(asyncio.wait_for(one.recv(), 30) for one in many))
    check(f"{MANY} connections at once each hear their own", answers == [str(number) for number in range(MANY)])
    await asyncio.gather(*(one.send(f"before {number}") for number, one in enumerate(many)))
    reload = await asyncio.create_subprocess_exec(*RELOAD)
    check("balancer and web servers are reloaded", await reload.wait() == 0)
    answers = await asyncio.gather(*(asyncio.wait_for(one.recv(), 30) for one in many))
    check("what was sent before a reload comes back", answers == [f"before {number}" for number in range(MANY)])
    await asyncio.gather(*(one.send(f"after {number}") for number, one in enumerate(many)))
    answers = await asyncio.gather(*(asyncio.wait_for(one.recv(), 30) for one in many))
    check(f"{MANY} connections outlive a reload", answers == [f"after {number}" for number in range(MANY)])
    await asyncio.gather(*(one.close() for one in many))


asyncio.run(main())
print(f"python websockets {websockets.__version__}: {passed} checks passed, 0 failed")
