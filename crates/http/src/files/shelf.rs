//! What a thread keeps of the files it serves: opened, small ones read, compressed ones compressed.
//!
//! Kept for as long as it is asked for, and looked after once a second: whoever replaces a file sees it replaced within
//! that. Only files that are there are kept, so that a new one is served at once. Bounded by two generations: when the
//! young one is full or old enough it becomes the old one, and what was not asked for in between is gone.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::{Conditions, Content, Folder, Found, Miss, answer};
use crate::codec::Method;
use crate::encoding::{Accepted, Encoding};

/// How long a file is believed to be as it was.
const TRUSTED: Duration = Duration::from_secs(1);
/// A file up to this is kept in memory: pages, scripts, styles and small pictures. Above it the kernel sends the file
/// without a copy, which is as cheap.
const KEPT_BYTES_MAX: u64 = 64 * 1024;
/// Of a generation's contents, on each core: 16 MiB hold the styles and scripts of most sites, and two generations on two
/// cores are still less than one PHP process.
const GENERATION_BYTES_MAX: usize = 16 << 20;
/// Of a generation, on each core. As nginx's `open_file_cache max=1000` in its documentation.
const GENERATION_FILES_MAX: usize = 1000;

/// A file and its answer.
pub(crate) struct Item {
    pub(crate) found: Found,
    /// The head of the answer to a plain GET, as [`answer()`] makes it.
    pub(crate) head: Vec<u8>,
    body: OnceCell<Vec<u8>>,
    /// When a request began that found the whole content in the kernel's memory.
    warm: Cell<Option<Instant>>,
}

impl Item {
    pub(crate) fn new(found: Found) -> Item {
        let mut head = Vec::with_capacity(384);
        let content = answer(&found, Method::Get, &Conditions::none(SystemTime::now()), &mut head);
        debug_assert!(found.length == 0 || matches!(content, Content::Part(_)));
        Item { found, head, body: OnceCell::new(), warm: Cell::new(None) }
    }

    /// The whole content, if it is small and in memory.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        if !self.is_small() {
            return None;
        }
        if let Some(body) = self.body.get() {
            return Some(body);
        }
        let mut body = vec![0; self.found.length as usize];
        let read = if body.is_empty() { 0 } else { self.found.read_at_nowait(0, &mut body).ok()? };
        (read == body.len()).then(|| self.body.get_or_init(|| body).as_slice())
    }

    /// Whether the whole content may be kept in memory.
    pub(crate) fn is_small(&self) -> bool {
        self.found.length <= KEPT_BYTES_MAX
    }

    /// The whole content, of a small file, read on a thread that may wait unless it is there.
    pub(crate) async fn fetched(&self) -> io::Result<&[u8]> {
        if let Some(body) = self.body() {
            return Ok(body);
        }
        match self.found.waited_for(0, vec![0; self.found.length as usize]).await? {
            (read, body) if read == body.len() => Ok(self.body.get_or_init(|| body)),
            // It has become shorter since it was opened.
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Whether the whole content was in the kernel's memory for a request that began within the last second: what was used
    /// just now is the last that it gives up, and asking costs a system call.
    pub(crate) fn was_warm(&self, now: Instant) -> bool {
        self.warm.get().is_some_and(|then| now.saturating_duration_since(then) < TRUSTED)
    }

    /// Notes that it is there for a request that began then.
    pub(crate) fn note_warm(&self, began: Instant) {
        self.warm.set(Some(began));
    }

    fn bytes(&self) -> usize {
        if self.found.file().is_none() || self.is_small() { self.found.length as usize } else { 0 }
    }
}

/// What is kept of one path.
struct Kept {
    plain: Rc<Item>,
    /// By [`Encoding`]; looked for beside the file each time that it is looked after itself.
    encoded: [RefCell<Option<Rc<Item>>>; 3],
    compressing: Cell<Compressing>,
    looked_at: Cell<Instant>,
}

#[derive(Clone, Copy, PartialEq)]
enum Compressing {
    NotYet,
    /// Now, or found not to be worth it.
    Begun,
}

type Generation = HashMap<u64, HashMap<Box<str>, Rc<Kept>>>;

/// A thread's files.
pub(crate) struct Shelf {
    young: RefCell<Generation>,
    old: RefCell<Generation>,
    files: Cell<usize>,
    bytes: Cell<usize>,
}

impl Shelf {
    pub(crate) fn new() -> Shelf {
        Shelf { young: RefCell::default(), old: RefCell::default(), files: Cell::new(0), bytes: Cell::new(0) }
    }

    /// As [`Folder::find`], in the coding that suits `accepted`.
    pub(crate) async fn find(
        &self,
        folder: &Folder,
        below: &str,
        accepted: Accepted,
        now: Instant,
    ) -> Result<Rc<Item>, Miss> {
        let kept = match self.kept(folder.number, below) {
            Some(kept) if now.saturating_duration_since(kept.looked_at.get()) < TRUSTED => kept,
            known => self.look(folder, below, known, now)?,
        };
        if accepted == Accepted::default() || !kept.plain.found.varies() {
            return Ok(kept.plain.clone());
        }
        if let Some(item) = kept.best(accepted) {
            return Ok(item);
        }
        if accepted.takes(Encoding::Gzip) && kept.compressing.replace(Compressing::Begun) == Compressing::NotYet {
            let found = kept.plain.found.clone();
            let smaller = tokio::task::spawn_blocking(move || found.compressed()).await;
            if let Ok(Some(smaller)) = smaller {
                self.bytes.set(self.bytes.get() + smaller.length as usize);
                kept.encoded[Encoding::Gzip as usize].replace(Some(Rc::new(Item::new(smaller))));
            }
        }
        Ok(kept.best(accepted).unwrap_or_else(|| kept.plain.clone()))
    }

    fn kept(&self, folder: u64, below: &str) -> Option<Rc<Kept>> {
        if let Some(kept) = self.young.borrow().get(&folder).and_then(|files| files.get(below)) {
            return Some(kept.clone());
        }
        let kept = self.old.borrow_mut().get_mut(&folder)?.remove(below)?;
        self.keep(folder, below, kept.clone());
        Some(kept)
    }

    /// Opens the file anew, and keeps what was made of it if it is still the same.
    fn look(&self, folder: &Folder, below: &str, known: Option<Rc<Kept>>, now: Instant) -> Result<Rc<Kept>, Miss> {
        let found = match folder.find(below) {
            Ok(found) => found,
            Err(miss) => {
                if let Some(files) = self.young.borrow_mut().get_mut(&folder.number) {
                    files.remove(below);
                }
                return Err(miss);
            }
        };
        if let Some(known) = known.filter(|known| known.plain.found.is(&found)) {
            known.look_beside(folder);
            known.looked_at.set(now);
            return Ok(known);
        }
        let kept = Rc::new(Kept::new(folder, found, now));
        self.keep(folder.number, below, kept.clone());
        Ok(kept)
    }

    fn keep(&self, folder: u64, below: &str, kept: Rc<Kept>) {
        let (files, bytes) = (self.files.get() + 1, self.bytes.get() + kept.bytes());
        if files > GENERATION_FILES_MAX || bytes > GENERATION_BYTES_MAX {
            self.age();
        }
        self.files.set(self.files.get() + 1);
        self.bytes.set(self.bytes.get() + kept.bytes());
        self.young.borrow_mut().entry(folder).or_default().insert(below.into(), kept);
    }

    /// Begins a new generation. Called from time to time as well: a file that was removed is not held open for ever.
    pub(crate) fn age(&self) {
        self.old.replace(self.young.take());
        self.files.set(0);
        self.bytes.set(0);
    }
}

impl Kept {
    fn new(folder: &Folder, found: Found, now: Instant) -> Kept {
        let plain = Rc::new(Item::new(found));
        let compressing = Cell::new(Compressing::NotYet);
        let kept = Kept { plain, encoded: Default::default(), compressing, looked_at: Cell::new(now) };
        kept.look_beside(folder);
        kept
    }

    /// Takes what lies beside the file in other codings as it is now; where nothing does, what was compressed here stays.
    fn look_beside(&self, folder: &Folder) {
        let plain = &self.plain.found;
        if !plain.varies() {
            return;
        }
        for encoding in Encoding::ALL {
            let (mut kept, beside) = (self.encoded[encoding as usize].borrow_mut(), folder.encoded(plain, encoding));
            let same = match (&*kept, &beside) {
                (Some(kept), Some(beside)) => kept.found.is(beside),
                (Some(kept), None) => kept.found.file().is_none(),
                (None, beside) => beside.is_none(),
            };
            if !same {
                *kept = beside.map(|found| Rc::new(Item::new(found)));
            }
        }
    }

    /// The first coding that is there and taken.
    fn best(&self, accepted: Accepted) -> Option<Rc<Item>> {
        let mut taken = Encoding::ALL.into_iter().filter(|encoding| accepted.takes(*encoding));
        taken.find_map(|encoding| self.encoded[encoding as usize].borrow().clone())
    }

    fn bytes(&self) -> usize {
        let encoded = self.encoded.iter().map(|item| item.borrow().as_ref().map_or(0, |item| item.bytes()));
        self.plain.bytes() + encoded.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::event_loop::run;

    /// A site's files are written one after the other, or compressed once they are served already.
    #[test]
    fn what_lies_beside_a_file_may_come_change_and_go() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(root.path().join(name), content).unwrap();
        let (folder, shelf, accepted) =
            (Folder::open(root.path()).unwrap(), Shelf::new(), Accepted::read(Some(b"gzip")));
        let began = Instant::now();
        let served = |seconds: u64| {
            let now = began + Duration::from_secs(seconds);
            let item = run(shelf.find(&folder, "a.css", accepted, now)).unwrap().unwrap();
            (item.found.encoding, item.found.length)
        };
        write("a.css", "a { }");
        assert_eq!(served(0), (None, 5));
        write("a.css.gz", "compressed");
        assert_eq!(served(2), (Some(Encoding::Gzip), 10));
        write("a.css.gz", "compressed again");
        assert_eq!(served(4), (Some(Encoding::Gzip), 16));
        std::fs::remove_file(root.path().join("a.css.gz")).unwrap();
        assert_eq!(served(6), (None, 5));
        // What is compressed here stays until there is something.
        write("a.css", &"a { } ".repeat(1000));
        let (encoding, length) = served(8);
        assert!(encoding == Some(Encoding::Gzip) && length < 100, "{length}");
        assert_eq!(served(10), (encoding, length));
        write("a.css.gz", "compressed");
        assert_eq!(served(12), (encoding, 10));
    }

    /// tmpfs cannot tell what is in memory (preadv2(2), `EOPNOTSUPP`).
    #[test]
    fn a_small_file_is_read_once_where_nobody_can_tell_what_is_in_memory() {
        let mut file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        file.write_all(b"hello").unwrap();
        let item = || Item::new(Found::open(file.path()).unwrap());
        let (kept, shorter) = (item(), item());
        let read = run(async { kept.fetched().await.map(<[u8]>::to_vec) }).unwrap();
        assert_eq!(read.unwrap(), b"hello");
        assert_eq!(kept.body(), Some(&b"hello"[..]));
        file.as_file().set_len(3).unwrap();
        let cut = run(async { shorter.fetched().await.map(|_| ()) }).unwrap();
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(kept.body(), Some(&b"hello"[..]));
    }
}
