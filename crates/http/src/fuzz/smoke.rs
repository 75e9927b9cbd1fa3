//! Every seed, and mutations of the seeds that are the same in every run.

use std::path::{Path, PathBuf};

use mainstay_machines::balance::hash::{below, draw};

use super::TARGETS;

/// Mutants of each target; together with the seeds they take a few seconds in a debug build.
const MUTANTS: u64 = 20_000;
/// Changes of one mutant.
const CHANGES_MAX: usize = 6;
/// What stands in many places and means something there.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"0",
    b"1",
    b"-",
    b"\"",
    b"\r\n\r\n",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Connection: ",
    b"Host: h\r\n",
    b"close",
    b"bytes=",
    b"*",
    b"HTTP/1.1",
    b"\xff",
    b"ffffffffffffffff",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4, "only {} seeds of {target}", files.len());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Drawn numbers, the same in every run.
struct Drawn(u64, u64);

impl Drawn {
    /// One below `count`.
    fn below(&mut self, count: usize) -> usize {
        self.1 += 1;
        below(draw(self.0, self.1), count)
    }
}

fn mutated(seeds: &[Vec<u8>], drawn: &mut Drawn) -> Vec<u8> {
    let mut bytes = seeds[drawn.below(seeds.len())].clone();
    for _ in 0..=drawn.below(CHANGES_MAX) {
        let place = drawn.below(bytes.len() + 1);
        let end = (place + drawn.below(16)).min(bytes.len());
        match drawn.below(7) {
            0 => drop(bytes.drain(place..end)),
            1 if place < bytes.len() => bytes[place] ^= 1 << drawn.below(8),
            2 if place < bytes.len() => bytes[place] = drawn.below(256) as u8,
            3 => bytes.truncate(place),
            4 => {
                let copy = bytes[place..end].to_vec();
                bytes.splice(place..place, copy);
            }
            5 => {
                let other = &seeds[drawn.below(seeds.len())];
                let from = drawn.below(other.len() + 1);
                let piece = &other[from..(from + drawn.below(64)).min(other.len())];
                bytes.splice(place..place, piece.iter().copied());
            }
            _ => drop(bytes.splice(place..end, WORDS[drawn.below(WORDS.len())].iter().copied())),
        }
    }
    bytes
}

fn smoke(name: &str) {
    let (_, target) = TARGETS.iter().find(|(is, _)| *is == name).unwrap();
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| target(seed));
    let mut drawn = Drawn(7, 0);
    for number in 0..MUTANTS {
        let mutant = mutated(&seeds, &mut drawn);
        let tried = std::panic::catch_unwind(|| target(&mutant));
        assert!(tried.is_ok(), "mutant {number} of {name}: {}", mutant.escape_ascii());
    }
}

#[test]
fn request_heads() {
    smoke("request_head");
}

#[test]
fn response_heads() {
    smoke("response_head");
}

#[test]
fn chunks() {
    smoke("chunked");
}

#[test]
fn fastcgi_answers() {
    smoke("fastcgi");
}

#[test]
fn ranges() {
    smoke("range");
}

#[test]
fn conditions() {
    smoke("conditions");
}

/// Every target has a program for libFuzzer, and its seeds.
#[test]
fn every_target_is_fuzzed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
        let program = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("fuzz::{name}(")), "fuzz_targets/{name}.rs calls something else");
    }
    assert_eq!(std::fs::read_dir(folder.join("seeds")).unwrap().count(), TARGETS.len());
}
