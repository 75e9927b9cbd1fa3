"""The files of crates/http/tests/hostile; tests/it/hostile/read.rs says what the keywords mean."""

import pathlib
import re


class Exchange:
    def __init__(self, place):
        self.place = place
        self.sent, self.says, self.stays = b"", None, False
        self.gets, self.kept, self.refusal = [], None, None
        self.seen = None


class Seen:
    def __init__(self, line, cut):
        self.line, self.cut = line, cut
        self.has, self.lacks, self.body = [], [], None


def unescaped(text):
    out, place = b"", 0
    plain = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "s": b" ", "\\": b"\\"}
    while place < len(text):
        if text[place] != "\\":
            out += text[place].encode()
            place += 1
            continue
        escape = text[place + 1]
        if escape == "x":
            out += bytes([int(text[place + 2 : place + 4], 16)])
            place += 4
        elif escape == "{":
            count, what = re.match(r"(\d+)\*(.*?)\}", text[place + 2 :]).groups()
            out += unescaped(what) * int(count)
            place = text.index("}", place) + 1
        else:
            out += plain[escape]
            place += 2
    return out


def take(exchange, keyword, text):
    if keyword == "send":
        exchange.sent += unescaped(text)
    elif keyword == "says":
        exchange.says = (exchange.says or b"") + unescaped(text)
    elif keyword == "stays":
        exchange.stays = True
    elif keyword == "get":
        for word in text.split(" "):
            if word in ("kept", "closed"):
                exchange.kept = word == "kept"
            elif word.isdigit():
                exchange.gets.append(int(word))
            else:
                exchange.refusal = word
    elif keyword in ("seen", "cut"):
        exchange.seen = exchange.seen or []
        if text != "nothing":
            exchange.seen.append(Seen(unescaped(text).decode(), keyword == "cut"))
    elif keyword == "has":
        exchange.seen[-1].has.append(text)
    elif keyword == "lacks":
        exchange.seen[-1].lacks.append(text)
    elif keyword == "body":
        exchange.seen[-1].body = unescaped(text)
    elif keyword not in ("why", "differ"):
        raise ValueError(f"{exchange.place}: what is {keyword}?")


def read(folder):
    found = []
    for file in sorted(pathlib.Path(folder).glob("*.txt")):
        for number, line in enumerate(file.read_text().split("\n"), 1):
            if line.startswith("--- "):
                found.append(Exchange(f"{file.name}:{number}: {line[4:]}"))
            elif line and not line.startswith("#"):
                take(found[-1], line[:7].strip(), line[7:])
    return found
