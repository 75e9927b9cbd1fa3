//! Which server a new connection goes to: pure.

/// A replica further behind is not read from. Five seconds is what a visitor who posted something still forgives when
/// reloading; replicas of an idle or busy healthy site are below one.
pub const LAG_S_MAX: u64 = 5;

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Not asked yet.
    Pending,
    /// It did not answer, and why.
    Failed(String),
    /// It answered.
    Well(Seen),
}

/// What a server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It takes no writes.
    pub read_only: bool,
    /// How its replication is; `None` if it replays nobody.
    pub replication: Option<Replication>,
}

/// The replication of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Whether it applies what it received.
    pub applying: bool,
    /// Seconds behind; `None` while it is not connected to its source.
    pub lag_s: Option<u64>,
}

/// Whether the server, the first of the list, takes writes: it must be the declared primary and open.
///
/// # Errors
/// Why it does not.
pub fn writer(checks: &[Check]) -> Result<usize, String> {
    match checks.first() {
        Some(Check::Well(seen)) if !seen.read_only => Ok(0),
        Some(Check::Well(_)) => Err("it is read-only".into()),
        Some(Check::Failed(why)) => Err(why.clone()),
        Some(Check::Pending) | None => Err("it was not reached yet".into()),
    }
}

/// The replica that is fit to be read and has the fewest connections; without one, the primary.
///
/// # Errors
/// Nobody is fit: why the primary is not.
pub fn reader(checks: &[Check], connections: &[usize]) -> Result<usize, String> {
    let fit = (1..checks.len()).filter(|index| unfit_to_read(checks, *index).is_none());
    match fit.min_by_key(|index| connections.get(*index).copied().unwrap_or(0)) {
        Some(index) => Ok(index),
        None => match &checks[0] {
            // A primary that is not open yet has all the data.
            Check::Well(_) => Ok(0),
            _ => writer(checks),
        },
    }
}

/// Why a replica is not read from.
pub fn unfit_to_read(checks: &[Check], index: usize) -> Option<String> {
    let primary_is_well = matches!(checks.first(), Some(Check::Well(_)));
    match &checks[index] {
        Check::Pending => Some("it was not reached yet".into()),
        Check::Failed(why) => Some(why.clone()),
        Check::Well(Seen { replication: None, .. }) => Some("it is not a replica yet".into()),
        Check::Well(Seen { replication: Some(replication), .. }) => match replication.lag_s {
            _ if !replication.applying => Some("it does not apply what the primary sends".into()),
            Some(seconds) if seconds > LAG_S_MAX => Some(format!("{seconds} s behind, more than {LAG_S_MAX} s")),
            // With the primary gone nobody has anything newer that could be read.
            None if primary_is_well => Some("it is not connected to the primary".into()),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: fn() -> Check = || Check::Failed("refused".into());

    fn primary(read_only: bool) -> Check {
        Check::Well(Seen { read_only, replication: None })
    }

    fn replica(applying: bool, lag_s: Option<u64>) -> Check {
        Check::Well(Seen { read_only: true, replication: Some(Replication { applying, lag_s }) })
    }

    #[test]
    fn writes_go_to_an_open_primary_only() {
        assert_eq!(writer(&[primary(false)]), Ok(0));
        assert_eq!(writer(&[primary(true)]), Err("it is read-only".into()));
        assert_eq!(writer(&[DOWN(), primary(false)]), Err("refused".into()), "an open replica is no primary");
        assert!(writer(&[Check::Pending]).is_err());
    }

    #[test]
    fn reads_go_to_the_fittest() {
        let rows = [
            (vec![primary(false), replica(true, Some(0)), replica(true, Some(5))], [9, 2, 1], Ok(2)),
            (vec![primary(false), replica(true, Some(0)), replica(true, Some(6))], [0, 9, 0], Ok(1)),
            (vec![primary(false), replica(true, None), replica(false, Some(0))], [0, 0, 0], Ok(0)),
            (vec![DOWN(), replica(true, None), DOWN()], [0, 0, 0], Ok(1)),
            (vec![primary(true), DOWN(), primary(false)], [0, 0, 0], Ok(0)),
            (vec![DOWN(), replica(false, None), Check::Pending], [0, 0, 0], Err("refused".into())),
        ];
        for (checks, connections, expected) in rows {
            assert_eq!(reader(&checks, &connections), expected, "{checks:?}");
        }
        assert_eq!(reader(&[primary(false)], &[0]), Ok(0), "a site without replicas reads from its primary");
    }
}
