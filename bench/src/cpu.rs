//! CPU time of processes, from the kernel's own books.

use std::fs;

use anyhow::{Result, ensure};

/// The process and all below it.
///
/// # Errors
/// /proc cannot be read.
pub fn family(pid: u32) -> Result<Vec<u32>> {
    let mut all = vec![pid];
    let parents = parents()?;
    let mut seen = 0;
    while seen < all.len() {
        let parent = all[seen];
        all.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        seen += 1;
    }
    Ok(all)
}

/// What these processes took so far, in nanoseconds (schedstat in proc(5)).
///
/// # Errors
/// The kernel keeps no such books.
pub fn time_ns(processes: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in processes {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += text.split(' ').next().and_then(|figure| figure.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    ensure!(sum > 0, "the kernel keeps no schedstat");
    Ok(sum)
}

/// Every process with its parent.
fn parents() -> Result<Vec<(u32, u32)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold anything; state and parent follow it (proc_pid_stat(5)).
        let parent =
            stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).and_then(|text| text.parse().ok());
        all.extend(parent.map(|parent| (pid, parent)));
    }
    Ok(all)
}
