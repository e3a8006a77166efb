//! The dashboard as one page: markup, style and script from `page/`, put together at each request around a nonce, so that the
//! browser runs this script and no other. What the page shows it reads from `/api/`, and writes as text, never as markup.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    http::{HeaderName, header},
};

use crate::{access::Access, web::Shared};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// One script, in the order in which its parts build on each other.
const SCRIPT: [&str; 4] = [
    include_str!("page/parts.js"),
    include_str!("page/schedules.js"),
    include_str!("page/views.js"),
    include_str!("page/dashboard.js"),
];

type Headers = [(HeaderName, String); 3];

/// The page.
pub(crate) async fn dashboard(
    State(shared): State<Arc<Shared>>,
    Extension(access): Extension<Access>,
) -> (Headers, String) {
    let nonce = shared.runtime().uuid().simple().to_string();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let may_act = matches!(access, Access::Act(_));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, "DENY".to_owned()),
    ];
    (headers, page(shared.title(), &nonce, may_act))
}

fn page(title: &str, nonce: &str, may_act: bool) -> String {
    let mut page = String::new();
    // What is put in is not looked at again: a title may well hold a mark of the template.
    for part in PAGE.split_inclusive("}}") {
        let (text, name) = part.strip_suffix("}}").and_then(|part| part.rsplit_once("{{")).unwrap_or((part, ""));
        page += text;
        match name {
            "title" => page += &escaped(title),
            "nonce" => page += nonce,
            "acts" => page += if may_act { "yes" } else { "no" },
            "style" => page += STYLE,
            "script" => SCRIPT.iter().for_each(|part| page += part),
            _ => {}
        }
    }
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_text_and_no_mark_of_the_template() {
        let page = page("<b>{{script}}</b>", "abc", false);
        assert!(page.contains("<title>&lt;b&gt;{{script}}&lt;/b&gt;</title>"));
        assert_eq!(page.matches("nonce=\"abc\"").count(), 2);
        assert!(!page.contains("{{nonce}}") && !page.contains("{{acts}}"));
    }
}
