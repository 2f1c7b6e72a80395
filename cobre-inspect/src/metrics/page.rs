//! Families of samples as text.

use std::fmt::Write as _;

use crate::text::clean;

/// A name, its kind and what it means.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

impl Family {
    /// What only grows.
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        let kind = "counter";
        Self { name, kind, help }
    }
}

/// What goes up and down.
pub(super) fn gauge(name: &'static str, help: &'static str) -> Family {
    let kind = "gauge";
    Family { name, kind, help }
}

/// The page under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: Family,
}

impl Page {
    /// The samples that follow are of `family`.
    pub(super) fn family(&mut self, family: Family) {
        let Family { name, kind, help } = family;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self.family = family;
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.family.name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let begin = if at == 0 { '{' } else { ',' };
            let text = clean(text).replace('\\', r"\\").replace('"', "\\\"");
            let _ = write!(self.text, "{begin}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        // The sum of nothing is -0 to the standard library.
        let _ = writeln!(self.text, "{end} {}", value + 0.0);
    }

    /// Nothing, if the value is not known.
    pub(super) fn sample_if(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }

    pub(super) fn text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, gauge};

    #[test]
    fn samples_are_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.family(gauge("x", "What it is."));
        page.sample(&[], -0.0);
        page.sample_if(&[("a", "1"), ("b", "say \"no\"\\\n")], Some(1.5));
        page.sample_if(&[], None);
        assert_eq!(
            page.text(),
            "# HELP x What it is.\n# TYPE x gauge\nx 0\n\
             x{a=\"1\",b=\"say \\\"no\\\"\\\\\\\\n\"} 1.5\n"
        );
    }
}
