//! Owns who may come in: the name that the router is called by, what the sender may do, and that a change was asked for by
//! the dashboard and not by some other page in the same browser.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tourbillon::model::OperatorName;

use crate::{problem::Problem, web::Shared};

/// Sent with every change. A page of another origin cannot add it without asking first, and is then told no.
pub(crate) const ACTION_HEADER: &str = "x-tourbillon-action";

/// What the sender of a request may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// Nothing: 401.
    Denied,
    /// Look.
    Read,
    /// Look, and change things under this name, which audit events and pauses keep.
    Act(OperatorName),
}

impl Access {
    /// Of those whom nobody asked.
    pub(crate) fn anybody() -> Self {
        Self::Act(OperatorName::new("dashboard").expect("a short word is a name"))
    }
}

/// Looks at each request before anything else does, and leaves its [`Access`] in the extensions.
pub(crate) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&shared, &parts) {
        Ok(access) => {
            parts.extensions.insert(access);
            let mut response = next.run(Request::from_parts(parts, body)).await;
            let headers = response.headers_mut();
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
            headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
            headers.insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
            response
        }
        Err(problem) => problem.into_response(),
    }
}

fn admit(shared: &Shared, request: &Parts) -> Result<Access, Problem> {
    let host = host(request);
    let name = host.unwrap_or_default();
    if !shared.is_host(name) {
        let message = format!("this router is not called `{name}`: allow the name where it is served");
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, message));
    }
    let access = shared.access(request);
    if access == Access::Denied {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "not for you: sign in".to_owned()));
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        is_own(&request.headers, host).map_err(|why| Problem::new(StatusCode::FORBIDDEN, why.to_owned()))?;
    }
    Ok(access)
}

fn host(request: &Parts) -> Option<&str> {
    let told = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    told.or_else(|| request.uri.authority().map(Authority::as_str))
}

/// Whether the dashboard itself asks for a change.
fn is_own(headers: &HeaderMap, host: Option<&str>) -> Result<(), &'static str> {
    if !headers.contains_key(ACTION_HEADER) {
        return Err("a change needs the header `x-tourbillon-action`, which no other page can send");
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let from_elsewhere = Err("a change must be asked for by the dashboard's own page");
    match (text("sec-fetch-site"), text("origin")) {
        (Some("same-origin" | "none"), _) | (None, None) => Ok(()),
        (Some(_), _) => from_elsewhere,
        // Browsers leave the other header out where there is no TLS.
        (None, Some(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            if authority.is_some() && authority == host { Ok(()) } else { from_elsewhere }
        }
    }
}

/// A sender who may change things.
pub(crate) struct Actor(pub(crate) OperatorName);

impl FromRequestParts<Arc<Shared>> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Problem> {
        match parts.extensions.get() {
            Some(Access::Act(name)) => Ok(Self(name.clone())),
            _ => {
                let message = "this dashboard changes nothing: its owner did not allow it, or not to you";
                Err(Problem::new(StatusCode::FORBIDDEN, message.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_change_from_another_page_is_refused() {
        let own = (ACTION_HEADER, "1");
        let asked = |pairs: &[_]| is_own(&headers(pairs), Some("jobs.internal:8080")).is_ok();
        assert!(asked(&[own]), "a program without a browser");
        assert!(asked(&[own, ("sec-fetch-site", "same-origin")]));
        assert!(asked(&[own, ("origin", "http://jobs.internal:8080")]));
        assert!(!asked(&[]), "a form can be sent from anywhere");
        assert!(!asked(&[("sec-fetch-site", "same-origin")]));
        assert!(!asked(&[own, ("sec-fetch-site", "cross-site")]));
        assert!(!asked(&[own, ("sec-fetch-site", "same-site"), ("origin", "http://jobs.internal:8080")]));
        assert!(!asked(&[own, ("origin", "http://evil.example")]));
        assert!(!asked(&[own, ("origin", "null")]));
    }
}
