//! Has the services of a server forget what is stale.

use std::time::Duration;

use hyper::{Method, StatusCode};
use mainstay_site::names::{Role, ServiceName};
use mainstay_site::wire::{Purge, Purged};

use super::post::{Handle, Refused, refusal};
use crate::unix_http::{self, Error};

/// For a service to look through its cache: milliseconds, whatever its size; more means that it hangs.
const WITHIN: Duration = Duration::from_secs(3);

impl Handle {
    /// Takes answers out of the caches of this server's services; what each took out.
    ///
    /// # Errors
    /// If one of them does not answer: what it has may be stale.
    pub async fn purge(&self, purge: &Purge) -> Result<Vec<Purged>, Refused> {
        let text = serde_json::to_vec(purge).map_err(|error| Refused::Invalid(refusal(&error.to_string(), None)))?;
        let caching = self.services(|role| matches!(role, Role::Web | Role::Balancer));
        let mut purged = Vec::new();
        for service in caching {
            let addresses = self.forget(&service, &text).await?;
            purged.extend(addresses.map(|addresses| Purged { service, addresses }));
        }
        Ok(purged)
    }

    async fn forget(&self, service: &ServiceName, purge: &[u8]) -> Result<Option<u64>, Refused> {
        let asked =
            unix_http::ask(&self.report_socket(service), Method::POST, "/v1/purge", purge.to_vec(), WITHIN).await;
        let odd = |what: String| {
            let hint = "ask again; `mainstay status` says how it is";
            Refused::Busy(refusal(&format!("{service} may still have what is stale: {what}"), Some(hint)))
        };
        match asked {
            Ok((StatusCode::OK, body)) => {
                serde_json::from_slice(&body).map(Some).map_err(|error| odd(error.to_string()))
            }
            Ok((StatusCode::NOT_FOUND, _)) => Ok(None),
            Ok((status, _)) => Err(odd(format!("it answers {status}"))),
            // It does not run, and begins with an empty cache.
            Err(Error::Connect(_)) => Ok(Some(0)),
            Err(error) => Err(odd(error.to_string())),
        }
    }
}
