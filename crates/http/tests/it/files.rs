//! Static files over a connection.

use std::io::Read;

use mainstay_http::files::Folder;

use crate::engine::{Engine, echo, limits, value};

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
