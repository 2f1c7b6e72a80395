//! Compares the pages of the book with the code, for the tests of the modules that own the bytes.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

/// The page of the layout.
const PAGE: &str = include_str!("../../specs/src/protocol/layout.md");

/// Name, offset and size.
pub(crate) type Field = (String, usize, usize);

/// The fields of a type. Does not compile if one is left out.
macro_rules! fields {
    ($type:ident { $($field:ident),+ $(,)? }) => {{
        let _: fn($type) = |$type { $($field: _),+ }| ();
        vec![$((
            stringify!($field).to_owned(),
            core::mem::offset_of!($type, $field),
            $crate::documented::size_of_field(|value: &$type| &value.$field),
        )),+]
    }};
}
pub(crate) use fields;

/// The size of what `project` leads to.
pub(crate) fn size_of_field<T, F>(_project: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// The fields of a part that lies at `offset` of another, called `part.field` there.
pub(crate) fn nested(part: &str, offset: usize, fields: Vec<Field>) -> Vec<Field> {
    let inside = |(name, at, size)| (format!("{part}.{name}"), offset + at, size);
    fields.into_iter().map(inside).collect()
}

/// The rows of the first table of `page` behind the line `heading`, without its head.
pub(crate) fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let mut lines = page.lines();
    assert!(lines.any(|line| line == heading), "no line {heading:?}");
    let rows = lines
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2);
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// Of a table of the layout the first column as numbers, and what stands in another.
pub(crate) fn numbered(heading: &str, column: usize) -> Vec<(u64, String)> {
    let row = |row: Vec<String>| (number(&row[0]), row[column].clone());
    table(PAGE, heading).into_iter().map(row).collect()
}

/// A number, perhaps with spaces between thousands.
pub(crate) fn number(cell: &str) -> u64 {
    cell.replace(' ', "").parse().unwrap()
}

/// Expects the table behind `heading` to state these fields and no others, in their order, and the
/// length of the whole.
pub(crate) fn expect(heading: &str, mut fields: Vec<Field>, whole: usize) {
    fields.sort_by_key(|(_, offset, _)| *offset);
    let mut stated = Vec::new();
    let mut end = 0;
    for row in table(PAGE, heading) {
        let (offset, name) = (number(&row[0]) as usize, row[2].as_str());
        if name == "end" {
            end = offset;
            continue;
        }
        let size = number(&row[1]) as usize;
        end = offset + size;
        // `field`: what it means; or words before a comma or colon.
        let name = match name.strip_prefix('`') {
            Some(rest) => rest.split('`').next(),
            None => name.split([':', ',']).next(),
        };
        let name = name.unwrap().to_owned();
        if name != "unused" {
            stated.push((name, offset, size));
        }
    }
    assert_eq!(stated, fields, "specs/src/protocol/layout.md, {heading}");
    assert_eq!(end, whole, "specs/src/protocol/layout.md, {heading}");
}

/// Expects the page to hold this sentence, however it is wrapped.
pub(crate) fn expect_words(sentence: &str) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words(PAGE).contains(&words(sentence)),
        "specs/src/protocol/layout.md does not say: {sentence}"
    );
}
