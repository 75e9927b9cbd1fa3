//! The page of nginx's `ngx_http_stub_status_module`, letter by letter, blanks at the ends of lines included.

use crate::counters::Counters;

/// Connections accepted and handled differ by those that were turned away, as nginx has it.
pub(super) fn text(counters: &Counters) -> String {
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    let (open, accepted) = (load(&counters.open), load(&counters.connections));
    let turned_away = load(&counters.turned_away) + load(&counters.crowded);
    let now = counters.lanes.sums();
    // The figures are not of one instant.
    let reading = open.saturating_sub(now.idle + now.busy);
    format!(
        "Active connections: {open} \nserver accepts handled requests\n {accepted} {} {} \nReading: {reading} Writing: {} \
         Waiting: {} \n",
        accepted.saturating_sub(turned_away),
        now.requests(),
        now.busy,
        now.idle,
    )
}
