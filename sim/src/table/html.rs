//! The table as one HTML page: light and dark, no script, nothing from the network.

use std::fmt::Write as _;

use super::{
    CellVerdict, Judged, Row, Table,
    report::{details, figure, outcome, stories, tally, word},
};

/// The whole report. Equal tables are equal texts.
pub fn html(table: &Table) -> String {
    let mut body = String::new();
    let title = format!("HA truth table: {}", table.workload);
    let last = table.first_seed + table.seeds.saturating_sub(1);
    let _ = write!(
        body,
        "<h1>{}</h1>\n<p>{}. Seeds {} to {last} in each column of each variant: {} simulations, {} simulated \
         hours.</p>\n",
        escape(&title),
        escape(table.about),
        table.first_seed,
        table.runs,
        table.sim_seconds / 3600
    );
    body.push_str(LEGEND);
    if !table.broken.is_empty() {
        let _ = write!(
            body,
            "<p class=\"alarm\">Guarantees of the library broke in {} runs:</p>\n<ul>\n",
            table.broken.len()
        );
        for broken in &table.broken {
            let text = format!("{}, {}, seed {}: {}", broken.variant, broken.class, broken.seed, broken.violation);
            let _ = writeln!(body, "<li>{}</li>", escape(&text));
        }
        body.push_str("</ul>\n");
    }
    for variant in &table.variants {
        let rows = table.rows.get(*variant).map_or(&[][..], Vec::as_slice);
        section(&mut body, table, variant, rows);
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/>\n<meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(&title)
    )
}

const LEGEND: &str = "<p class=\"legend\"><span class=\"held\">held</span> worst ≤ bound, and the fault fired inside \
the window that matters <span class=\"broken\">broken</span> worst &gt; bound <span class=\"open\">not covered</span> \
what the class consists of did not all fire there: nothing is claimed. Open a cell for its promise, its witness and \
the line that replays it.</p>\n";

const STYLE: &str = ":root { color-scheme: light dark; --fg: #1b1f24; --bg: #ffffff; --line: #d0d7de; --dim: #57606a;
  --held: #d7f0dd; --broken: #ffd8d3; --open: #fdeec2; }
@media (prefers-color-scheme: dark) {
  :root { --fg: #e6edf3; --bg: #0d1117; --line: #30363d; --dim: #9198a1;
    --held: #12381f; --broken: #5a1a17; --open: #463807; }
}
body { font: 14px/1.45 system-ui, sans-serif; color: var(--fg); background: var(--bg); margin: 1.5rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--bg); }
td p, td code { display: block; margin: .3rem 0; max-width: 34rem; white-space: normal; }
code { font: 12px ui-monospace, monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; white-space: nowrap; }
.held { background: var(--held); } .broken { background: var(--broken); } .open { background: var(--open); }
.legend span { padding: .1rem .4rem; border: 1px solid var(--line); margin-left: .6rem; }
.dim { color: var(--dim); } .alarm { font-weight: bold; }
";

fn section(body: &mut String, table: &Table, variant: &str, rows: &[Row]) {
    let [held, broken, open] = tally(table.cells.iter().filter(|cell| cell.variant == variant));
    let _ = write!(
        body,
        "<h2>{}</h2>\n<p>{held} held, {broken} broken, {open} not covered.</p>\n<table>\n<thead><tr><th>row</th>",
        escape(variant)
    );
    for class in &table.classes {
        let _ = write!(body, "<th title=\"{}\">{}</th>", escape(class.about()), escape(class.short()));
    }
    body.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let _ = write!(
            body,
            "<tr><th>{}<br/><span class=\"dim\">{}; {}</span></th>",
            escape(&row.name),
            escape(row.mode),
            escape(row.measure)
        );
        for cell in table.cells_of(variant, row.id) {
            let _ = write!(
                body,
                "<td class=\"{}\"><details><summary>{}</summary><p>{}</p></details></td>",
                colour(cell),
                escape(&summary(cell)),
                escape(&details(table, row, cell)).replace('`', "")
            );
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody>\n</table>\n");
    why(body, rows);
    findings(body, table, variant);
}

fn why(body: &mut String, rows: &[Row]) {
    body.push_str("<table>\n<thead><tr><th>row</th><th>mode</th><th>why, and when to pin to one replica</th></tr></thead>\n<tbody>\n");
    for row in rows {
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&row.name),
            escape(row.mode),
            escape(row.why)
        );
    }
    body.push_str("</tbody>\n</table>\n");
}

fn findings(body: &mut String, table: &Table, variant: &str) {
    let mut findings = table.findings.iter().filter(|finding| finding.variant == variant).peekable();
    if findings.peek().is_none() {
        return;
    }
    body.push_str(
        "<h3>What is documented, and what was found</h3>\n<table>\n<thead><tr><th>row</th><th>documented</th>\
         <th>found</th><th>examples</th></tr></thead>\n<tbody>\n",
    );
    for finding in findings {
        let example = |(text, replay): (String, Option<String>)| {
            let replay = replay.map_or_else(String::new, |line| format!(" <code>{}</code>", escape(&line)));
            format!("<p>{}{replay}</p>", escape(&text))
        };
        let examples: String = stories(table, finding).into_iter().map(example).collect();
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{examples}</td></tr>",
            escape(&finding.name),
            escape(finding.documented.text),
            outcome(finding.outcome),
        );
    }
    body.push_str("</tbody>\n</table>\n");
}

const fn colour(cell: &Judged) -> &'static str {
    match cell.verdict {
        CellVerdict::Held => "held",
        CellVerdict::Broken => "broken",
        CellVerdict::NotCovered => "open",
    }
}

fn summary(cell: &Judged) -> String {
    match cell.verdict {
        CellVerdict::Held | CellVerdict::Broken => figure(cell),
        CellVerdict::NotCovered => word(cell.verdict).to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::table, *};

    /// Every tag is closed in order; nothing is fetched.
    #[test]
    fn the_page_is_well_formed_and_stands_alone() {
        let page = html(&table());
        let mut open = Vec::new();
        let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
        while let Some(start) = rest.find('<') {
            let end = rest[start..].find('>').expect("a tag ends") + start;
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if tag.ends_with('/') {
                continue;
            }
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
                None => open.push(tag.split(' ').next().unwrap_or_default().to_owned()),
            }
        }
        assert!(open.is_empty(), "{open:?} are not closed");
        assert!(!page.contains("http") && !page.contains("<script") && !page.contains("url("));
        assert!(page.contains("a &lt;b&gt; &amp; &quot;c&quot;") && page.contains("prefers-color-scheme: dark"));
        for class in ["\"held\"", "\"broken\"", "\"open\""] {
            assert!(page.contains(&format!("<td class={class}>")), "no cell of class {class}");
        }
    }
}
