"""Says what it was asked: method, path, and length and SHA-256 of the body."""

import hashlib


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
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
