//! Folders on a disk, and what is answered from them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::codec::{HeadLimits, Method, Request};

/// 2026-01-02 03:04:05 UTC
const MODIFIED: u64 = 1_767_323_045;
const MODIFIED_DATE: &str = "Fri, 02 Jan 2026 03:04:05 GMT";

struct Scene {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

/// A root beside a secret, with everything that could lead to it.
fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    for file in [
        "secret.txt",
        "kept/photo.jpg",
        "kept/shell.php",
        "root/app.css",
        "root/a b.css",
        "root/empty.txt",
        "root/docs/index.html",
        "root/docs/deep/page.html",
        "root/.env",
        "root/.well-known/security.txt",
        "root/shell.php",
        "root/SHELL2.PHP",
        "root/x:y/index.html",
        "root/app.55e7cbb9ba48.js",
    ] {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, if file.ends_with("empty.txt") { "" } else { "0123456789" }).unwrap();
        fs::File::open(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_millis(MODIFIED * 1000 + 7)).unwrap();
    }
    fs::create_dir(root.join("bare")).unwrap();
    symlink("../secret.txt", root.join("out")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("../kept", root.join("uploads")).unwrap();
    symlink("docs/../app.css", root.join("inside.css")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("gone", root.join("dangling")).unwrap();
    Scene { _folder: folder, root }
}

/// The content, or the name of the miss.
fn look(folder: &Folder, below: &str) -> String {
    match folder.find(below) {
        Ok(found) => {
            let mut buffer = [0; 32];
            let length = found.read_at(0, &mut buffer).unwrap();
            assert_eq!(length as u64, found.length);
            format!("{} {}", found.media, String::from_utf8_lossy(&buffer[..length]))
        }
        Err(miss) => format!("{} {miss:?}", miss.status()),
    }
}

#[test]
fn files_are_found() {
    let scene = scene();
    let folder = Folder::open(&scene.root).unwrap();
    for below in ["app.css", "/app.css", "a%20b.css", "inside.css", "%61pp.css"] {
        assert_eq!(look(&folder, below), "text/css; charset=utf-8 0123456789", "{below}");
    }
    assert_eq!(look(&folder, "docs/"), "text/html; charset=utf-8 0123456789");
    assert_eq!(look(&folder, "docs/deep/page.html"), "text/html; charset=utf-8 0123456789");
    assert_eq!(look(&folder, ".well-known/security.txt"), "text/plain; charset=utf-8 0123456789");
    assert_eq!(look(&folder, "empty.txt"), "text/plain; charset=utf-8 ");
}

#[test]
fn nothing_outside_or_hidden_is_found() {
    let scene = scene();
    let folder = Folder::open(&scene.root).unwrap();
    for below in [
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "docs/../../secret.txt",
        "docs/%2e%2e/app.css",
        ".env",
        "%2eenv",
        "./app.css",
        "out",
        "up/secret.txt",
        "up",
        "up/",
        "absolute",
        "magic/etc/passwd",
        "uploads/photo.jpg",
    ] {
        assert_eq!(look(&folder, below), "403 Forbidden", "{below}");
    }
    for below in ["app.css%00", "..\\secret.txt", "..%5csecret.txt", "%c0%ae%c0%ae/secret.txt", "%", "%ff"] {
        assert_eq!(look(&folder, below), "400 Malformed", "{below}");
    }
    for below in [
        "gone",
        "app.css/",
        "app.css/x",
        "bare",
        "bare/",
        "",
        "docs%2findex.html",
        "//app.css",
        "docs//index.html",
        "/%2fetc/passwd",
        "loop",
        "dangling",
        &"a".repeat(300),
        "docs/deep",
    ] {
        assert_eq!(look(&folder, below), "404 NotFound", "{below}");
    }
}

#[test]
fn folders_without_their_slash_are_redirected_relatively() {
    let scene = scene();
    let folder = Folder::open(&scene.root).unwrap();
    assert_eq!(look(&folder, "docs"), "301 Redirect(\"./docs/\")");
    assert_eq!(look(&folder, "x:y"), "301 Redirect(\"./x:y/\")");
    assert_eq!(look(&folder, "/docs"), "301 Redirect(\"./docs/\")");
}

#[test]
fn a_suffix_is_never_served_and_the_rest_falls_through() {
    let scene = scene();
    let mut folder = Folder::open(&scene.root).unwrap();
    folder.never = vec![".php".into()];
    assert_eq!(look(&folder, "shell.php"), "404 NotFound");
    folder.fall_through = true;
    for below in ["shell.php", "shell%2ephp", "SHELL2.PHP", "shell.php/", "shell.php/x", "gone", "bare/", "", "a//b"] {
        assert_eq!(look(&folder, below), "404 FallThrough", "{below}");
    }
    assert_eq!(look(&folder, ".env"), "403 Forbidden", "the application is not asked for what is hidden");
    assert_eq!(look(&folder, "app.css"), "text/css; charset=utf-8 0123456789");
}

#[test]
fn pipes_and_missing_roots_and_files_chosen_already() {
    let scene = scene();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        scene.root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let folder = Folder::open(&scene.root).unwrap();
    assert_eq!(look(&folder, "pipe"), "404 NotFound");
    assert!(matches!(Found::open(&scene.root.join("pipe")), Err(Miss::NotFound)));
    assert!(matches!(Found::open(&scene.root), Err(Miss::NotFound)));
    assert!(matches!(Found::open(&scene.root.join("gone")), Err(Miss::NotFound)));
    let found = Found::open(&scene.root.join("app.css")).unwrap();
    assert_eq!((found.length, found.media), (10, "text/css; charset=utf-8"));
}

#[test]
fn a_root_that_is_not_there_is_looked_for_again() {
    let scene = scene();
    let late = Folder::open(scene.root.join("late")).unwrap();
    assert_eq!(look(&late, "a.txt"), "404 NotFound");
    let why = late.missing().unwrap();
    assert!(why.contains("/late cannot be opened: No such file"), "{why}");
    fs::create_dir(scene.root.join("late")).unwrap();
    fs::write(scene.root.join("late/a.txt"), "here").unwrap();
    assert_eq!((late.missing(), look(&late, "a.txt").as_str()), (None, "text/plain; charset=utf-8 here"));
}

#[test]
fn reading_without_waiting_reads_what_is_in_memory_or_says_so() {
    let scene = scene();
    let found = Folder::open(&scene.root).unwrap().find("app.css").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(found.read_at(8, &mut buffer).unwrap(), 2);
    assert_eq!(&buffer[..2], b"89");
    assert_eq!(found.read_at(10, &mut buffer).unwrap(), 0);
    match found.read_at_nowait(6, &mut buffer) {
        Ok(length) => assert_eq!(&buffer[..length], b"6789"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
}

/// One exchange: the status and the content, and the head as text.
fn exchange(file: &str, method: Method, headers: &[(&str, &str)]) -> (String, String) {
    let scene = scene();
    let found = Folder::open(&scene.root).unwrap().find(file).unwrap();
    let value = |name| headers.iter().find(|(is, _)| *is == name).map(|(_, value)| value.as_bytes());
    let conditions = Conditions {
        if_match: value("im"),
        if_unmodified_since: value("ius"),
        if_none_match: value("inm"),
        if_modified_since: value("ims"),
        range: value("range"),
        if_range: value("ir"),
        accept_encoding: None,
        now: UNIX_EPOCH + Duration::from_secs(MODIFIED + 60),
    };
    let mut head = Vec::new();
    let content = match answer(&found, method, &conditions, &mut head) {
        Content::Nothing => "nothing".to_owned(),
        Content::Part(Part { start, length }) => format!("{start}+{length}"),
        Content::Parts(parts, _) => {
            let each = parts.iter().map(|(_, Part { start, length })| format!("{start}+{length}"));
            each.collect::<Vec<_>>().join(" ")
        }
    };
    let head = String::from_utf8(head).unwrap();
    assert!(head.ends_with("\r\n") && !head.contains("\r\n\r\n"), "{head}");
    (format!("{} {content}", &head[9..12]), head)
}

const ETAG: &str = "\"a-695735a5-6acfc0\"";

#[test]
fn a_whole_answer() {
    let (short, head) = exchange("app.css", Method::Get, &[]);
    assert_eq!(short, "200 0+10");
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/css; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Length: 10\r\nAccept-Ranges: bytes\r\nVary: Accept-Encoding\r\nETag: {ETAG}\r\nCache-Control: no-cache\r\n\
             Last-Modified: {MODIFIED_DATE}\r\n"
        )
    );
    let (_, head) = exchange("app.55e7cbb9ba48.js", Method::Get, &[]);
    assert!(head.contains("Cache-Control: public, max-age=31536000, immutable\r\n"), "{head}");
}

#[test]
fn conditions_in_their_order() {
    let (weak, other) = (format!("W/{ETAG}"), "\"x\"");
    let list = format!("{other} , {weak}");
    let late = "Fri, 02 Jan 2026 03:04:06 GMT";
    let early = "Fri, 02 Jan 2026 03:04:04 GMT";
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("inm", ETAG)], "304 nothing"),
        (&[("inm", &weak)], "304 nothing"),
        (&[("inm", &list)], "304 nothing"),
        (&[("inm", "*")], "304 nothing"),
        (&[("inm", other)], "200 0+10"),
        (&[("inm", "")], "200 0+10"),
        (&[("ims", MODIFIED_DATE)], "304 nothing"),
        (&[("ims", late)], "304 nothing"),
        (&[("ims", early)], "200 0+10"),
        (&[("ims", "yesterday")], "200 0+10"),
        (&[("inm", other), ("ims", MODIFIED_DATE)], "200 0+10"),
        (&[("inm", ETAG), ("ims", early)], "304 nothing"),
        (&[("im", ETAG)], "200 0+10"),
        (&[("im", "*")], "200 0+10"),
        (&[("im", &weak)], "412 nothing"),
        (&[("im", other)], "412 nothing"),
        (&[("im", other), ("inm", ETAG)], "412 nothing"),
        (&[("ius", early)], "412 nothing"),
        (&[("ius", MODIFIED_DATE)], "200 0+10"),
        (&[("im", ETAG), ("ius", early)], "200 0+10"),
        (&[("inm", ETAG), ("range", "bytes=0-1")], "304 nothing"),
    ];
    for (headers, expected) in table {
        assert_eq!(exchange("app.css", Method::Get, headers).0, *expected, "{headers:?}");
    }
    let (_, head) = exchange("app.css", Method::Get, &[("inm", ETAG)]);
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 304 Not Modified\r\nVary: Accept-Encoding\r\nETag: {ETAG}\r\nCache-Control: no-cache\r\n\
             Last-Modified: {MODIFIED_DATE}\r\n"
        )
    );
}

#[test]
fn ranges_and_their_conditions() {
    let weak = format!("W/{ETAG}");
    let range = ("range", "bytes=2-4");
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[range], "206 2+3"),
        (&[("range", "bytes=-3")], "206 7+3"),
        (&[("range", "bytes=7-")], "206 7+3"),
        (&[("range", "bytes=0-1,3-4")], "206 0+2 3+2"),
        (&[("range", "bytes=0-3,3-4")], "200 0+10"),
        (&[("range", "bytes=10-")], "416 nothing"),
        (&[range, ("ir", ETAG)], "206 2+3"),
        (&[range, ("ir", &weak)], "200 0+10"),
        (&[range, ("ir", "\"x\"")], "200 0+10"),
        (&[range, ("ir", MODIFIED_DATE)], "206 2+3"),
        (&[range, ("ir", "Fri, 02 Jan 2026 03:04:06 GMT")], "200 0+10"),
        (&[("range", "bytes=10-"), ("ir", "\"x\"")], "200 0+10"),
    ];
    for (headers, expected) in table {
        assert_eq!(exchange("app.css", Method::Get, headers).0, *expected, "{headers:?}");
    }
    let (_, head) = exchange("app.css", Method::Get, &[range]);
    assert!(head.contains("Content-Range: bytes 2-4/10\r\n") && head.contains("Content-Length: 3\r\n"), "{head}");
    let (_, head) = exchange("app.css", Method::Get, &[("range", "bytes=10-")]);
    assert!(head.contains("Content-Range: bytes */10\r\n") && head.contains("Content-Length: 0\r\n"), "{head}");
    assert_eq!(exchange("empty.txt", Method::Get, &[]).0, "200 nothing");
    assert_eq!(exchange("empty.txt", Method::Get, &[("range", "bytes=0-")]).0, "416 nothing");
}

#[test]
fn methods() {
    let (short, head) = exchange("app.css", Method::Head, &[("range", "bytes=2-4")]);
    assert_eq!(short, "200 nothing");
    assert!(head.contains("Content-Length: 10\r\n"), "{head}");
    for method in [Method::Options, Method::Idempotent, Method::Other] {
        let (short, head) = exchange("app.css", method, &[]);
        assert_eq!(short, "405 nothing");
        assert!(head.contains("Allow: GET, HEAD\r\n"), "{head}");
    }
}

#[test]
fn a_file_from_the_future_has_no_last_modified() {
    let scene = scene();
    let found = Folder::open(&scene.root).unwrap().find("app.css").unwrap();
    let mut head = Vec::new();
    answer(&found, Method::Get, &Conditions::none(SystemTime::UNIX_EPOCH), &mut head);
    assert!(!String::from_utf8(head).unwrap().contains("Last-Modified"));
}

#[test]
fn a_date_proves_a_part_only_once_its_second_is_over() {
    let scene = scene();
    let found = Folder::open(&scene.root).unwrap().find("app.css").unwrap();
    for (age, status) in [(0, "200"), (1, "200"), (2, "206")] {
        let now = UNIX_EPOCH + Duration::from_secs(MODIFIED + age);
        let date = Some(MODIFIED_DATE.as_bytes());
        let conditions = Conditions { range: Some(b"bytes=0-1"), if_range: date, ..Conditions::none(now) };
        let mut head = Vec::new();
        answer(&found, Method::Get, &conditions, &mut head);
        assert_eq!(&head[9..12], status.as_bytes(), "{age} s after the change");
    }
}

#[test]
fn conditions_of_a_request() {
    let mut request = Request::default();
    let text = "GET / HTTP/1.1\r\nHost: a\r\nRange: 1\r\nif-range: 2\r\nIf-Match: 3\r\nIf-None-Match: 4\r\n\
                If-Modified-Since: 5\r\nIf-Unmodified-Since: 6\r\n\r\n";
    request.read(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let read = Conditions::of(&request, UNIX_EPOCH);
    let all = [
        read.range,
        read.if_range,
        read.if_match,
        read.if_none_match,
        read.if_modified_since,
        read.if_unmodified_since,
    ];
    assert_eq!(all, [b"1", b"2", b"3", b"4", b"5", b"6"].map(|value| Some(value.as_slice())));
    let text = "GET / HTTP/1.1\r\nHost: a\r\nRange: 1\r\nIf-Range: 2\r\nIf-Range: 3\r\nIf-None-Match: 4\r\n\
                If-None-Match: 5\r\nIf-None-Match: 6\r\n\r\n";
    request.read(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let read = Conditions::of(&request, UNIX_EPOCH);
    assert_eq!((read.range, read.if_range, read.if_none_match), (None, None, None));
}

#[test]
fn answers_without_a_file() {
    let text = |miss: Miss, query: &str| {
        let mut head = Vec::new();
        miss.answer(query, &mut head);
        String::from_utf8(head).unwrap()
    };
    assert_eq!(
        text(Miss::Redirect("./docs/".into()), "a=b"),
        "HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nCache-Control: no-cache\r\n\
         Location: ./docs/?a=b\r\n"
    );
    assert!(text(Miss::Redirect("./docs/".into()), "").ends_with("Location: ./docs/\r\n"));
    assert!(text(Miss::FallThrough, "a").starts_with("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"));
    assert!(text(Miss::Forbidden, "").starts_with("HTTP/1.1 403 Forbidden\r\n"));
}
