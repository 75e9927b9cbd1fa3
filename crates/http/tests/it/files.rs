//! Static files over a connection.

use std::io::Read;

use mainstay_http::files::Folder;

use crate::engine::{Engine, echo, limits, until, value};

/// An engine that serves a folder at `/static/` and, with fall-through, at `/`.
fn engine() -> (Engine, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("style.css"), "body{}").unwrap();
    std::fs::write(root.path().join("index.php"), "<?php secret();").unwrap();
    std::fs::write(root.path().join("large.bin"), vec![7; 3 << 20]).unwrap();
    std::fs::write(root.path().join("empty.txt"), "").unwrap();
    std::fs::create_dir(root.path().join("sub")).unwrap();
    std::fs::write(root.path().join("sub/index.html"), "<p>sub").unwrap();
    let mut own = Folder::open(root.path()).unwrap();
    own.prefix = "/static/".into();
    let mut document_root = Folder::open(root.path()).unwrap();
    document_root.fall_through = true;
    document_root.never = vec![".php".into()];
    (Engine::serving(vec![own, document_root], &[echo("app")], limits()), root)
}

#[test]
fn files_come_with_type_validators_and_ranges() {
    let (engine, _root) = engine();
    let mut client = engine.connect();
    let whole = client.get("/static/style.css");
    assert_eq!((whole.status, whole.body.as_slice()), (200, b"body{}".as_slice()));
    assert!(value(&whole.head, "content-type").unwrap().starts_with("text/css"), "{}", whole.head);
    let etag = value(&whole.head, "etag").unwrap();
    let again = format!("GET /static/style.css HTTP/1.1\r\nHost: h\r\nIf-None-Match: {etag}\r\n\r\n");
    client.send(again.as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 304"));
    client.send(b"GET /static/style.css HTTP/1.1\r\nHost: h\r\nRange: bytes=1-3\r\n\r\n");
    let part = client.answer();
    assert_eq!((part.status, part.body.as_slice()), (206, b"ody".as_slice()));
    let empty = client.get("/static/empty.txt");
    assert_eq!((empty.status, empty.body.len()), (200, 0));
}

#[test]
fn a_large_file_arrives_whole() {
    let (engine, _root) = engine();
    let mut client = engine.connect();
    client.send(b"GET /static/large.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(value(&client.head(), "content-length"), Some("3145728"));
    let mut body = vec![0; 3 << 20];
    client.reader().read_exact(&mut body).unwrap();
    assert!(body.iter().all(|byte| *byte == 7));
    assert_eq!(client.get("/static/style.css").status, 200, "the connection goes on");
}

#[test]
fn what_is_no_file_is_a_404_or_the_applications() {
    let (engine, _root) = engine();
    let mut client = engine.connect();
    assert_eq!(client.get("/static/none").status, 404);
    assert_eq!(client.get("/static/..%2f..%2fetc/passwd").status / 100, 4);
    let moved = client.get("/static/sub?a=b");
    assert_eq!((moved.status, value(&moved.head, "location")), (301, Some("./sub/?a=b")));
    assert_eq!(client.get("/static/sub/").body, b"<p>sub");
    client.send(b"POST /static/style.css HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().status, 405);
    // Below the document root: files are files, code is the application's, and so is everything else.
    assert_eq!(client.get("/style.css").body, b"body{}");
    assert!(client.get("/index.php").body.starts_with(b"app"));
    assert!(client.get("/a/pretty/link").body.starts_with(b"app"));
}

/// What `client` gets for `path` with these further lines.
fn ask(engine: &Engine, path: &str, lines: &str) -> crate::engine::Answer {
    let mut client = engine.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes());
    client.answer()
}

#[test]
fn text_comes_compressed_to_those_who_take_it() {
    let (engine, root) = engine();
    let text = "to be or not to be, ".repeat(500);
    std::fs::write(root.path().join("page.html"), &text).unwrap();
    std::fs::write(root.path().join("made.js"), &text).unwrap();
    std::fs::write(root.path().join("made.js.br"), "as brotli").unwrap();
    std::fs::write(root.path().join("made.js.zst"), "as zstd").unwrap();
    let plain = ask(&engine, "/static/page.html", "");
    assert_eq!((plain.body.as_slice(), value(&plain.head, "vary")), (text.as_bytes(), Some("Accept-Encoding")));
    let smaller = ask(&engine, "/static/page.html", "Accept-Encoding: gzip, br\r\n");
    assert_eq!(value(&smaller.head, "content-encoding"), Some("gzip"));
    assert!(smaller.body.len() < text.len() / 10);
    assert_ne!(value(&smaller.head, "etag"), value(&plain.head, "etag"), "other bytes, another tag");
    let etag = value(&smaller.head, "etag").unwrap();
    let same = ask(&engine, "/static/page.html", &format!("Accept-Encoding: gzip\r\nIf-None-Match: {etag}\r\n"));
    assert_eq!(same.status, 304);
    for (accepted, body, encoding) in [
        ("gzip, br, zstd", "as brotli", Some("br")),
        ("zstd, br;q=0", "as zstd", Some("zstd")),
        ("identity", text.as_str(), None),
    ] {
        let made = ask(&engine, "/static/made.js", &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!((made.body.as_slice(), value(&made.head, "content-encoding")), (body.as_bytes(), encoding));
        assert!(value(&made.head, "content-type").unwrap().starts_with("text/javascript"));
    }
    let small = ask(&engine, "/static/style.css", "Accept-Encoding: gzip\r\n");
    assert_eq!((small.body.as_slice(), value(&small.head, "content-encoding")), (b"body{}".as_slice(), None));
    let url = format!("http://{}/static/page.html", engine.address);
    let curl = std::process::Command::new("curl").args(["-sS", "--compressed", &url]).output().unwrap();
    assert_eq!(curl.stdout, text.as_bytes());
}

#[test]
fn several_ranges_come_as_parts() {
    let (engine, _root) = engine();
    for (file, at) in [("style.css", 1), ("large.bin", 2_000_000)] {
        let parts = ask(&engine, &format!("/static/{file}"), &format!("Range: bytes=0-1,{}-{}\r\n", at + 1, at + 2));
        let media = value(&parts.head, "content-type").unwrap();
        let boundary = media.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let text = String::from_utf8(parts.body).unwrap();
        assert_eq!((parts.status, text.matches(boundary).count()), (206, 3), "{text:?}");
        assert!(text.contains(&format!("Content-Range: bytes {}-{}/", at + 1, at + 2)), "{text}");
        assert!(text.ends_with(&format!("--{boundary}--\r\n")));
    }
}

#[test]
fn a_file_that_is_replaced_or_removed_is_seen_so() {
    let (engine, root) = engine();
    assert_eq!(ask(&engine, "/static/style.css", "").body, b"body{}");
    std::fs::write(root.path().join("style.css"), "p{}").unwrap();
    until("the new one comes", || ask(&engine, "/static/style.css", "").body == b"p{}");
    std::fs::remove_file(root.path().join("style.css")).unwrap();
    until("it is gone", || ask(&engine, "/static/style.css", "").status == 404);
    std::fs::write(root.path().join("style.css"), "a{}").unwrap();
    assert_eq!(ask(&engine, "/static/style.css", "").body, b"a{}", "what was not there is not remembered");
}

#[test]
fn pages_of_an_application_that_routes_in_the_browser() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("index.html"), "<p>app").unwrap();
    std::fs::write(root.path().join("app.js"), "js").unwrap();
    let mut folder = Folder::open(root.path()).unwrap();
    folder.fallback = Some("index.html".into());
    folder.cache_control = Some("max-age=60".into());
    let engine = Engine::serving(vec![folder], &[echo("app")], limits());
    for page in ["/", "/users/7", "/users/"] {
        let answer = ask(&engine, page, "");
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"<p>app".as_slice()), "{page}");
        assert_eq!(value(&answer.head, "cache-control"), Some("max-age=60"));
    }
    assert_eq!(ask(&engine, "/app.js", "").body, b"js");
    assert_eq!(ask(&engine, "/gone.js", "").status, 404, "a script that is missing is no page");
    assert_eq!(ask(&engine, "/.git/config", "").status, 403);
}
