"""The application of the foreign clients. By HTTP it says what it was asked: method, path, and length and SHA-256 of the body.
By WebSocket it says back what it hears; `/close/CODE` closes with CODE at the first message."""

import hashlib


async def app(scope, receive, send):
    await {"lifespan": lifespan, "http": http, "websocket": websocket}[scope["type"]](scope, receive, send)


async def lifespan(scope, receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def http(scope, receive, send):
    length, digest, more = 0, hashlib.sha256(), True
    while more:
        message = await receive()
        piece, more = message.get("body", b""), message.get("more_body", False)
        length += len(piece)
        digest.update(piece)
    said = f"{scope['method']} {scope['path']} {length} {digest.hexdigest()}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


async def websocket(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if scope["path"].startswith("/close/"):
            await send({"type": "websocket.close", "code": int(scope["path"].rsplit("/", 1)[1])})
            return
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})
