"""What Python's grpcio sees of a site: client.py EXAMPLE HTTP-PORT HTTPS-PORT HOST."""

import asyncio
import ssl
import sys
import time

import grpc

EXAMPLE, HTTP, HTTPS, HOST = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
sys.path.insert(0, EXAMPLE)
messages, services = grpc.protos_and_services("greeter.proto")
Code = grpc.StatusCode

UNARY = 1000
AT_ONCE = 32
LARGE = "ä" * (1 << 19)
# Longer than any other request may be silent (30 s) or unanswered (60 s).
SILENT = 65
WITHIN = 5 * SILENT
passed = failed = 0


def check(what, holds, said=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"grpcio: not as it should be: {what} {said}", file=sys.stderr)


async def ends(call):
    """The error that a call ends with."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def unary(greeter):
    answer = await greeter.Greet(messages.Name(name="you"))
    check("a call is answered", answer.text == "Hello you", answer)
    check("through every tier", answer.via == "balancer=lb1, web=server1, app=server1", answer.via)
    answers = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number):
        async with gate:
            answers.append((await greeter.Greet(messages.Name(name=str(number)))).text == f"Hello {number}")

    await asyncio.gather(*(one(number) for number in range(UNARY)))
    check(f"{UNARY} calls are answered, each with its own", answers.count(True) == UNARY, answers.count(True))


async def streams(greeter):
    names = [str(number) for number in range(200)]
    heard = [answer.text async for answer in greeter.GreetEach(messages.Names(names=names))]
    check("a stream of answers arrives in order", heard == [f"Hello {name}" for name in names])
    heard = [answer async for answer in greeter.GreetEach(messages.Names())]
    check("a stream of no answers is one", heard == [])
    answer = await greeter.GreetAll(iter([messages.Name(name=name) for name in names]))
    check("a stream of requests arrives", answer.text == f"Hello 200 of you, {sum(map(len, names))} letters in all", answer.text)
    answer = await greeter.GreetAll(iter([]))
    check("a stream of no requests is one", answer.text.startswith("Hello 0 of you"), answer.text)
    chat = greeter.Chat()
    for name in names:
        await chat.write(messages.Name(name=name))
        said = await asyncio.wait_for(chat.read(), 5)
        if said.text != f"Hello {name}":
            break
    check("a chat goes to and fro, nothing is held back", said.text == "Hello 199", said)
    await chat.done_writing()
    check("and ends when the caller has said all", await chat.read() == grpc.aio.EOF)
    check("well", await chat.code() == Code.OK)
    # A connection may have 128 open: of more, those that are too many would wait for others to end.
    many = [greeter.Chat() for _ in range(100)]
    for number, one in enumerate(many):
        await one.write(messages.Name(name=str(number)))
    heard = [(await asyncio.wait_for(one.read(), 10)).text for one in many]
    check("100 chats at once each hear their own", heard == [f"Hello {number}" for number in range(100)])
    for one in many:
        one.cancel()


async def large(greeter):
    answer = await greeter.Greet(messages.Name(name=LARGE))
    check("1 MiB there and back", answer.text == f"Hello {LARGE}")
    answer = await greeter.Greet(messages.Name(name=LARGE), compression=grpc.Compression.Gzip)
    check("compressed too", answer.text == f"Hello {LARGE}")
    chat = greeter.Chat()
    for _ in range(8):
        await chat.write(messages.Name(name=LARGE))
        check("1 MiB on a stream", (await asyncio.wait_for(chat.read(), 20)).text == f"Hello {LARGE}")
    await chat.done_writing()
    check("which ends well", await chat.code() == Code.OK)


async def metadata(greeter):
    sent = (("echo-text", "a, b; c=d"), ("echo-twice", "1"), ("echo-twice", "2"), ("echo-bytes-bin", bytes(range(256))))
    call = greeter.Greet(messages.Name(name="you"), metadata=sent)
    before, after = await call.initial_metadata(), await call.trailing_metadata()
    check("metadata comes back before the answer", [it for it in before if it[0].startswith("echo-")] == list(sent), before)
    check("and after it", [it for it in after if it[0].startswith("echo-")] == list(sent), after)
    check("and nothing else comes after it", len(tuple(after)) == len(sent), after)
    wide = (("echo-wide", "x" * 7000),)
    after = await greeter.Greet(messages.Name(name="you"), metadata=wide).trailing_metadata()
    check("7,000 bytes of metadata", dict(after).get("echo-wide") == wide[0][1])


async def errors(greeter):
    error = await ends(greeter.Greet(messages.Name()))
    check("an error has its code", error.code() == Code.INVALID_ARGUMENT, error)
    check("its words", error.details() == "whom? – says the greeter", error)
    check("and its details", dict(error.trailing_metadata()).get("greeter-reason-bin") == b"\x00\xff nobody", error)

    # Who sends at that very moment may be told by grpcio that the sending failed, not why.
    async def without_end():
        yield messages.Name(name="x")
        yield messages.Name()
        await asyncio.sleep(WITHIN)

    error = await asyncio.wait_for(ends(greeter.GreetAll(without_end())), 10)
    check("an error before the caller has said all", error.code() == Code.INVALID_ARGUMENT, error)
    check("with its words", error.details() == "one of them has no name", error)
    nowhere = greeter.channel.unary_unary("/greeter.Greeter/Nothing", lambda it: it, lambda it: it)
    error = await ends(nowhere(b""))
    check("a method that is not there", error.code() == Code.UNIMPLEMENTED, error)


async def waiting(greeter, wanted):
    for _ in range(100):
        count = (await greeter.Waiting(messages.Nothing())).count
        if count == wanted:
            return True
        await asyncio.sleep(0.05)
    return False


async def deadlines(greeter):
    answer = await greeter.Greet(messages.Name(name="you"), timeout=20)
    check("the server knows the deadline", 15 < answer.left < 21, answer.left)
    silent = (await greeter.Waiting(messages.Nothing())).count
    began = time.monotonic()
    error = await ends(greeter.GreetLater(messages.Later(name="you", seconds=30), timeout=0.5))
    check("a deadline is met", error.code() == Code.DEADLINE_EXCEEDED, error)
    check("in time", time.monotonic() - began < 2)
    check("and the server has stopped", await waiting(greeter, silent))
    call = greeter.GreetLater(messages.Later(name="you", seconds=30))
    task = asyncio.ensure_future(ends(call))
    check("a call reaches the server", await waiting(greeter, silent + 1))
    call.cancel()
    try:
        await task
        check("a cancelled call ends", False)
    except asyncio.CancelledError:
        check("a cancelled call ends", True)
    check("and ends on the server", await waiting(greeter, silent))


async def silence(greeter):
    chat = greeter.Chat()
    await chat.write(messages.Name(name="first"))
    check("before the silence", (await chat.read()).text == "Hello first")
    later = greeter.GreetLater(messages.Later(name="you", seconds=SILENT))
    heard = [answer.text async for answer in later]
    check(f"an answer after {SILENT} s of silence", heard == ["Hello you, at last"], heard)
    await chat.write(messages.Name(name="last"))
    check(f"a chat goes on after {SILENT} s of silence", (await chat.read()).text == "Hello last")
    await chat.done_writing()
    check("and ends well", await chat.code() == Code.OK)


async def everything(name, channel):
    before = passed
    greeter = services.GreeterStub(channel)
    greeter.channel = channel
    for part in (unary, streams, large, metadata, errors, deadlines):
        try:
            await part(greeter)
        except grpc.aio.AioRpcError as error:
            check(f"{name}: {part.__name__}", False, error)
    print(f"{name}: {passed - before} checks passed")


async def main():
    secret = grpc.ssl_channel_credentials(ssl.get_server_certificate(("127.0.0.1", HTTPS)).encode())
    clear = grpc.aio.insecure_channel(f"127.0.0.1:{HTTP}", options=[("grpc.default_authority", HOST)])
    encrypted = grpc.aio.secure_channel(f"127.0.0.1:{HTTPS}", secret, options=[("grpc.ssl_target_name_override", HOST)])
    async with clear, encrypted:
        silent = [asyncio.ensure_future(silence(services.GreeterStub(channel))) for channel in (clear, encrypted)]
        while (await services.GreeterStub(clear).Waiting(messages.Nothing())).count < 2:
            await asyncio.sleep(0.05)
        await everything("in clear", clear)
        await everything("over TLS", encrypted)
        for one in await asyncio.gather(*silent, return_exceptions=True):
            check("a silent call", one is None, one)


asyncio.run(asyncio.wait_for(main(), WITHIN))
print(f"grpcio {grpc.__version__}: {passed} checks passed, {failed} failed; {2 * UNARY} unary calls among them")
sys.exit(failed > 0)
