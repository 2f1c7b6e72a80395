//! The few elements that our pictures are made of.

use std::fmt::Write as _;

use cobre_comm_trait::text::clean;

/// A picture under construction.
#[derive(Debug)]
pub(crate) struct Svg {
    width: f64,
    body: String,
}

/// Where a text stands from its point.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(crate) fn new(width: f64) -> Self {
        Self {
            width,
            body: String::new(),
        }
    }

    /// A filled rectangle; `tip` is shown when the pointer rests on it.
    pub(crate) fn rect(&mut self, [x, y, width, height]: [f64; 4], fill: &str, tip: &str) {
        // Hair lines of nothing only make the file large.
        if width < 0.005 || height < 0.005 {
            return;
        }
        let _ = write!(
            self.body,
            r#"<rect x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" fill="{fill}""#
        );
        let _ = if tip.is_empty() {
            writeln!(self.body, "/>")
        } else {
            writeln!(self.body, "><title>{}</title></rect>", escaped(tip))
        };
    }

    /// One shape that hangs from a line, in steps: each ends at an x and is so high.
    pub(crate) fn steps(&mut self, [x, y]: [f64; 2], steps: &[[f64; 2]], fill: &str, tip: &str) {
        if steps.iter().all(|[_, height]| *height < 0.005) {
            return;
        }
        let _ = write!(self.body, r#"<path d="M{x:.2} {y:.2}"#);
        for [end, height] in steps {
            let _ = write!(self.body, "V{:.2}H{end:.2}", y + height);
        }
        let _ = writeln!(
            self.body,
            r#"V{y:.2}Z" fill="{fill}"><title>{}</title></path>"#,
            escaped(tip)
        );
    }

    pub(crate) fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{}</text>"#,
            escaped(text)
        );
    }

    /// The document, `height` high.
    pub(crate) fn finish(self, height: f64) -> String {
        let (width, body) = (self.width, self.body);
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" font-family="Helvetica, Arial, sans-serif" font-size="12">
<style>text{{fill:#222}}.title{{font-size:16px;font-weight:bold}}.head{{font-size:13px;font-weight:bold}}.small{{font-size:10px;fill:#555}}.light{{fill:#fff}}</style>
<rect width="{width:.0}" height="{height:.0}" fill="#fff"/>
{body}</svg>
"##
        )
    }
}

/// Cleaned, because XML has no control characters and a name may come from a file of anybody.
fn escaped(text: &str) -> String {
    let text = clean(text);
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}
