//! What must survive a restart is written down by a thread of its own: a disk that does not answer must not keep adverts from
//! going out, or the address would be lost with it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// For the last note, when the service ends: a disk that takes longer is not waited for.
const LAST_WITHIN: Duration = Duration::from_millis(500);

/// A file that holds what was noted last.
pub(super) struct Notes<N> {
    /// One note at most waits: a later one says more.
    notes: SyncSender<N>,
    ended: Receiver<()>,
}

impl<N: Serialize + Send + 'static> Notes<N> {
    /// Notes in `file`.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(super) fn begin(file: PathBuf) -> io::Result<Notes<N>> {
        let (notes, to_write) = sync_channel::<N>(1);
        let (end, ended) = sync_channel(0);
        thread::Builder::new().name("notes".into()).spawn(move || {
            for note in to_write {
                if let Err(error) = write(&file, &note) {
                    tracing::warn!(
                        "what was heard cannot be written down: {error}; after a restart it could be believed again"
                    );
                }
            }
            // Only that it is gone matters.
            drop(end);
        })?;
        Ok(Notes { notes, ended })
    }

    /// Has it written down; whether it will be. Otherwise the disk is not done with what was noted before.
    pub(super) fn note(&self, note: N) -> bool {
        self.notes.try_send(note).is_ok()
    }

    /// Waits a moment for what is being written.
    pub(super) fn end(self) {
        let Notes { notes, ended } = self;
        drop(notes);
        if ended.recv_timeout(LAST_WITHIN) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the disk does not answer: after a restart, what was heard last could be believed again");
        }
    }
}

fn write(file: &Path, note: &impl Serialize) -> io::Result<()> {
    let beside = file.with_added_extension("new");
    std::fs::write(&beside, serde_json::to_vec(note)?)?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn the_last_note_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes");
        let notes = Notes::begin(file.clone()).unwrap();
        assert!(notes.note(7));
        notes.end();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "7");
    }

    /// The disk: a pipe that nobody reads.
    #[test]
    fn a_disk_that_stands_still_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes");
        let blocked = file.with_added_extension("new");
        mknodat(CWD, &blocked, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let notes = Notes::begin(file).unwrap();
        let begun = Instant::now();
        let taken = (0..1_000).filter(|number| notes.note(*number)).count();
        // One is being written, one waits.
        assert!((1..=2).contains(&taken), "{taken}");
        notes.end();
        assert!(begun.elapsed() < LAST_WITHIN * 4, "{:?}", begun.elapsed());
        // The thread goes on when somebody reads, and ends.
        let _ = std::fs::read(&blocked);
    }
}
