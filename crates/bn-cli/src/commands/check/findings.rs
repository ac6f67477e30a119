//! What is wrong with an engine, by cause.

use std::io::{self, Write};

use bn_findings::cause::Severity;
use bn_findings::findings::Finding;

use crate::style;

/// One paragraph per cause, the worst first; nothing where nothing failed.
pub fn write(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "what is wrong, by cause:")?;
    for Finding { cause, cases, shown_by, .. } in findings {
        let severity = cause.severity.name();
        let cases = style::count(*cases, "case");
        let text = format!("{severity}: {} ({cases}, such as {shown_by})", cause.title);
        let painted = match cause.severity {
            Severity::Wrong => style::bad(severity),
            _ => style::doubtful(severity),
        };
        writeln!(out, "{}", style::paragraph(&text).replacen(severity, &painted, 1))?;
    }
    writeln!(out)
}
