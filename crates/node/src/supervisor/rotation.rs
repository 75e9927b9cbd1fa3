//! A log file of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a file before it is put aside.
const FILE_BYTES: u64 = 8 << 20;

/// Files put aside: `.1` is the youngest. With the current one a service's log takes 40 MiB at most, which is about
/// 200,000 requests; whoever wants more collects it elsewhere.
const ASIDE: u32 = 4;

/// Bytes looked at for the last lines.
const TAIL_BYTES: u64 = 1 << 20;

/// `PATH`, and `PATH.1` … `PATH.4`.
pub(super) struct RotatingFile {
    path: PathBuf,
    open: Option<(File, u64)>,
}

impl RotatingFile {
    /// Opened when first written.
    pub(super) fn new(path: PathBuf) -> Self {
        RotatingFile { path, open: None }
    }

    /// Where the current file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole records. After an error the file is opened again the next time, since whatever was wrong with it
    /// may have been mended.
    ///
    /// # Errors
    /// If the disk refuses; part of the records may have been written, and ends in a line of its own.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let (mut file, size) = match self.open.take() {
            Some((_, size)) if size >= FILE_BYTES => self.rotate()?,
            Some(open) => open,
            None => self.reopen()?,
        };
        file.write_all(records)?;
        self.open = Some((file, size + records.len() as u64));
        Ok(())
    }

    /// A torn record at the end, of a full disk or a lost machine, is closed by a line break.
    fn reopen(&self) -> io::Result<(File, u64)> {
        let mut file = OpenOptions::new().append(true).read(true).create(true).mode(0o640).open(&self.path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let mut last = [b'\n'];
        if size > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
        Ok((file, size))
    }

    fn rotate(&self) -> io::Result<(File, u64)> {
        let aside = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..ASIDE).rev() {
            rename_if_there(&aside(number), &aside(number + 1))?;
        }
        rename_if_there(&self.path, &aside(1))?;
        self.reopen()
    }

    /// The last `count` lines, as far as the current file and the one before have them; `None` if neither can be read.
    pub(super) fn tail(&self, count: usize) -> Option<String> {
        let before = PathBuf::from(format!("{}.1", self.path.display()));
        let current = end_of(&self.path)?;
        let text = match current.lines().count() < count {
            true => end_of(&before).unwrap_or_default() + &current,
            false => current,
        };
        let skip = text.lines().count().saturating_sub(count);
        Some(text.lines().skip(skip).flat_map(|line| [line, "\n"]).collect())
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn end_of(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line of a part is a part of a line.
    let whole = if size > TAIL_BYTES { text.split_once('\n').map_or("", |(_, rest)| rest).to_owned() } else { text };
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_keeps_the_youngest() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RotatingFile::new(folder.path().join("web.log"));
        let mut block = vec![b'x'; (FILE_BYTES / 2) as usize];
        block.push(b'\n');
        for _ in 0..16 {
            file.append(&block).unwrap();
        }
        file.append(b"last\n").unwrap();
        let sizes: Vec<u64> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), ASIDE as usize + 1);
        assert!(sizes.iter().all(|size| *size <= FILE_BYTES + block.len() as u64), "{sizes:?}");
        assert_eq!(file.tail(1).unwrap(), "last\n");
    }

    #[test]
    fn closes_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        fs::write(&path, "torn").unwrap();
        let mut file = RotatingFile::new(path.clone());
        file.append(b"whole\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "torn\nwhole\n");
        assert_eq!(file.tail(5).unwrap(), "torn\nwhole\n");
    }
}
