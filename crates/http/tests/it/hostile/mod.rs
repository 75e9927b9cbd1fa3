//! Hostile exchanges, from `tests/hostile`, played against the engine in front of a backend that writes down what it
//! receives; the small ones once more for every place at which their bytes can be split, which may change nothing.

mod play;
mod read;
mod record;

use std::sync::atomic::{AtomicUsize, Ordering};

use play::Stage;
use read::Exchange;

/// More than these bytes are not split everywhere: what is long is long by repetition.
const SPLIT_BYTES_MAX: usize = 400;
/// Played at once; each waits most of its time.
const STAGES: usize = 16;

#[test]
fn every_exchange_ends_as_its_file_says() {
    let exchanges = read::all();
    assert!(exchanges.len() >= 150, "only {} exchanges were found", exchanges.len());
    let whole: Vec<Play> = exchanges.iter().map(|exchange| (exchange, None)).collect();
    play(&whole);
    let split = exchanges.iter().filter(|exchange| exchange.sent.len() <= SPLIT_BYTES_MAX);
    let split: Vec<Play> = split.flat_map(|it| (1..it.sent.len()).map(move |at| (it, Some(at)))).collect();
    play(&split);
    println!("{} hostile exchanges, and {} splits of them", whole.len(), split.len());
}

/// An exchange and where its bytes are split.
type Play<'e> = (&'e Exchange, Option<usize>);

/// Plays all, and fails with every exchange that differs from its file.
fn play(plays: &[Play<'_>]) {
    let next = AtomicUsize::new(0);
    let mut wrong: Vec<(&str, String)> = std::thread::scope(|scope| {
        let stage = || {
            let (stage, mut wrong) = (Stage::new(), Vec::new());
            while let Some((exchange, split)) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(because) = stage.play(exchange, *split) {
                    let split = split.map_or(String::new(), |at| format!(" (split at {at})"));
                    wrong.push((exchange.place.as_str(), format!("{split}: {because}")));
                }
            }
            wrong
        };
        let stages: Vec<_> = (0..STAGES).map(|_| scope.spawn(stage)).collect();
        stages.into_iter().flat_map(|stage| stage.join().unwrap()).collect()
    });
    // One exchange that is wrong is often wrong at every split.
    wrong.sort();
    wrong.dedup_by_key(|(place, _)| *place);
    let said: Vec<String> = wrong.into_iter().map(|(place, because)| format!("{place}{because}")).collect();
    assert!(said.is_empty(), "{} exchanges differ from their file:\n{}", said.len(), said.join("\n"));
}
