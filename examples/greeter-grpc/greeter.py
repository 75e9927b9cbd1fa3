"""A gRPC server as an application of kind "http" with speaks = "http2": it listens on the socket that it is given.

It has no health service of its own, which is well with Mainstay: that it says so is an answer.
"""

import asyncio
import os
import signal

import grpc

messages, services = grpc.protos_and_services("greeter.proto")


def greeting(context, text):
    """What the caller is told. Metadata that begins with `echo-` comes back before and after the answer."""
    said = [(key, value) for key, value in context.invocation_metadata() if key.startswith("echo-")]
    context.set_trailing_metadata(said)
    via = dict(context.invocation_metadata()).get("x-mainstay-via", "")
    return messages.Greeting(text=text, via=via, left=context.time_remaining() or 0)


class Greeter(services.GreeterServicer):
    def __init__(self):
        self.waiting = 0

    async def Greet(self, request, context):
        if not request.name:
            context.set_trailing_metadata([("greeter-reason-bin", b"\x00\xff nobody")])
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "whom? – says the greeter")
        said = [(key, value) for key, value in context.invocation_metadata() if key.startswith("echo-")]
        await context.send_initial_metadata(said)
        return greeting(context, f"Hello {request.name}")

    async def GreetEach(self, request, context):
        for name in request.names:
            yield greeting(context, f"Hello {name}")

    async def GreetAll(self, requests, context):
        names = []
        async for request in requests:
            if not request.name:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "one of them has no name")
            names.append(request.name)
        return greeting(context, f"Hello {len(names)} of you, {sum(map(len, names))} letters in all")

    async def Chat(self, requests, context):
        async for request in requests:
            yield greeting(context, f"Hello {request.name}")

    async def GreetLater(self, request, context):
        self.waiting += 1
        try:
            await asyncio.sleep(request.seconds)
            yield greeting(context, f"Hello {request.name}, at last")
        finally:
            self.waiting -= 1

    async def Waiting(self, request, context):
        return messages.Count(count=self.waiting)


async def main():
    server = grpc.aio.server()
    services.add_GreeterServicer_to_server(Greeter(), server)
    server.add_insecure_port(f"unix:{os.environ['SOCKET']}")
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(grace=5)


asyncio.run(main())
