//! Passes questions and orders on to the database of a server.

use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use mainstay_site::names::Role;
use mainstay_site::wire::Refusal;
use mainstay_site::wire::upkeep::{Ask, Told};

use rustix::process::geteuid;

use super::post::{Handle, Refused, refusal};
use crate::platform::folder;
use crate::unix_http;

/// For an answer: what takes longer is a job, which is begun and asked after.
const WITHIN: Duration = Duration::from_secs(4);

impl Handle {
    /// Asks the database service of this server.
    ///
    /// # Errors
    /// If there is none, it does not answer, or it refuses.
    pub async fn ask_database(&self, ask: &Ask) -> Result<Told, Refused> {
        let text = serde_json::to_vec(ask).map_err(|error| Refused::Invalid(refusal(&error.to_string(), None)))?;
        let none =
            || Refused::Unknown(refusal("this server has no database", Some("ask one with the role `database`")));
        let service = self.services(|role| role == Role::Database).into_iter().next().ok_or_else(none)?;
        if let Ask::Backup { to: Some(to), .. } = ask {
            make(to);
        }
        let socket = self.report_socket(&service);
        let odd = |what: String| {
            let hint = "`mainstay status` says how it is";
            Refused::Busy(refusal(&format!("{service} does not answer as it should: {what}"), Some(hint)))
        };
        match unix_http::ask(&socket, Method::POST, "/v1/database", text, WITHIN).await {
            Ok((StatusCode::OK, body)) => serde_json::from_slice(&body).map_err(|error| odd(error.to_string())),
            Ok((StatusCode::CONFLICT, body)) => match serde_json::from_slice::<Refusal>(&body) {
                Ok(refusal) => Err(Refused::Busy(refusal)),
                Err(error) => Err(odd(error.to_string())),
            },
            Ok((status, _)) => Err(odd(format!("it answers {status}"))),
            Err(error) => Err(odd(error.to_string())),
        }
    }
}

/// Makes a folder for backups that is not there yet, and gives it to the database, which may make none where root's are. One
/// that is there is whoever's it is: nobody loses a folder by a word too many.
fn make(to: &str) {
    let below = to.strip_prefix('/').filter(|_| geteuid().is_root() && std::fs::symlink_metadata(to).is_err());
    if let Some(Err(why)) = below.map(|below| folder::make(Path::new("/"), below, 0o700, Some(Role::Database.user()))) {
        // The database says so too, to whoever asked.
        tracing::warn!("{to} cannot be made: {why}");
    }
}
