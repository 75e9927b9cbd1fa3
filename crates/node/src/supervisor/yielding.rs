//! Passes wishes on to who speaks for the floating addresses of a server.

use std::time::Duration;

use hyper::{Method, StatusCode};
use mainstay_site::names::ServiceName;
use mainstay_site::wire::vip::{View, Wish};

use super::post::{Handle, Refused, refusal};
use crate::unix_http;

/// It answers at once.
const WITHIN: Duration = Duration::from_secs(2);

impl Handle {
    /// Tells the service `vip` of this server.
    ///
    /// # Errors
    /// If there is none, or it does not answer.
    pub async fn wish_of_vip(&self, wish: Wish) -> Result<View, Refused> {
        let text = serde_json::to_vec(&wish).map_err(|error| Refused::Invalid(refusal(&error.to_string(), None)))?;
        let socket = self.report_socket(&ServiceName::from("vip"));
        let odd = |what: String| Refused::Busy(refusal(&format!("vip does not answer as it should: {what}"), None));
        match unix_http::ask(&socket, Method::POST, "/v1/vip", text, WITHIN).await {
            Ok((StatusCode::OK, body)) => serde_json::from_slice(&body).map_err(|error| odd(error.to_string())),
            Ok((status, _)) => Err(odd(format!("it answers {status}"))),
            Err(error) => {
                let hint = "ask a balancer of a cluster; `mainstay status` says how it is";
                Err(Refused::Unknown(refusal(&format!("no floating address here: {error}"), Some(hint))))
            }
        }
    }
}
