//! Comparing two output directories.
//!
//! Files are compared byte for byte, with three exceptions. Those that say where
//! and how fast, which differ between any two runs, are left out; the convergence
//! table is compared without its time columns; and in two files the moment of
//! writing does not count.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, Float32Array, Float64Array};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{During, Failure};

const STEP: &str = "to compare";

/// How a file is compared.
#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// All bytes.
    Bytes,
    /// All bytes but those of timestamps.
    BytesWithoutTimestamps,
    /// All columns of the table except those whose name starts with `time_`.
    ColumnsWithoutTime,
    /// Not at all.
    Never,
}

fn rule(file: &str) -> Rule {
    let never = [
        // Timestamps, durations, host, number of ranks.
        "metadata.json",
        // Times.
        "training/timing/",
        // A row per rank and thread, with times.
        "training/solver/",
        // Solve times.
        "simulation/solver/",
    ];
    let stamped = ["policy/manifest.bin", "training/dictionaries/codes.json"];
    if file == "training/convergence.parquet" {
        Rule::ColumnsWithoutTime
    } else if stamped.contains(&file) {
        Rule::BytesWithoutTimestamps
    } else if never
        .iter()
        .any(|part| file.starts_with(part) || file.ends_with(part))
    {
        Rule::Never
    } else {
        Rule::Bytes
    }
}

/// The outcome of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Files that were compared.
    pub(crate) compared: usize,
    /// Files that can not be.
    pub(crate) left_out: usize,
    /// What differs, one line each.
    pub(crate) differences: Vec<String>,
}

/// Compares everything in `candidate` with `reference`.
pub(crate) fn compare(reference: &Path, candidate: &Path) -> Result<Comparison, Failure> {
    let mut outcome = Comparison::default();
    let (ours, theirs) = (files(reference)?, files(candidate)?);
    for file in ours.union(&theirs) {
        let rule = rule(file);
        if rule == Rule::Never {
            outcome.left_out += 1;
            continue;
        }
        outcome.compared += 1;
        if !theirs.contains(file) {
            outcome.differences.push(format!("{file}: missing"));
        } else if !ours.contains(file) {
            outcome.differences.push(format!("{file}: only here"));
        } else {
            let (a, b) = (reference.join(file), candidate.join(file));
            let difference = match rule {
                Rule::ColumnsWithoutTime => differing_columns(&table(&a)?, &table(&b)?),
                Rule::BytesWithoutTimestamps => differing_byte(
                    &without_timestamps(&read(&a)?),
                    &without_timestamps(&read(&b)?),
                ),
                _ => differing_byte(&read(&a)?, &read(&b)?),
            };
            let found = difference.map(|what| format!("{file}: {what}"));
            outcome.differences.extend(found);
        }
    }
    Ok(outcome)
}

/// All files below `root`, relative to it, with `/` between the parts.
fn files(root: &Path) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir)).during(STEP)? {
            let entry = entry.during(STEP)?;
            let path = dir.join(entry.file_name());
            if entry.file_type().during(STEP)?.is_dir() {
                open.push(path);
            } else {
                found.insert(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).during(STEP)
}

fn differing_byte(a: &[u8], b: &[u8]) -> Option<String> {
    if a == b {
        return None;
    }
    let at = std::iter::zip(a, b).position(|(a, b)| a != b);
    Some(match at {
        Some(at) => format!("byte {at} differs ({} and {} bytes)", a.len(), b.len()),
        None => format!("{} and {} bytes", a.len(), b.len()),
    })
}

/// Takes out every `2026-01-31T12:59:59`, with the fraction of a second if there is one.
fn without_timestamps(bytes: &[u8]) -> Vec<u8> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let is_stamp = |window: &[u8]| {
        std::iter::zip(window, SHAPE).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            shape => byte == shape,
        })
    };
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if rest.len() >= SHAPE.len() && is_stamp(&rest[..SHAPE.len()]) {
            rest = &rest[SHAPE.len()..];
            if let Some(fraction) = rest.strip_prefix(b".") {
                rest = &fraction[digits(fraction)..];
            }
        } else {
            kept.push(byte);
            rest = tail;
        }
    }
    kept
}

fn table(path: &Path) -> Result<RecordBatch, Failure> {
    let file = File::open(path).during(STEP)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).during(STEP)?;
    let schema = builder.schema().clone();
    let batches = builder.build().during(STEP)?.collect::<Result<Vec<_>, _>>();
    concat_batches(&schema, &batches.during(STEP)?).during(STEP)
}

/// Names the columns of `b` that are not bit for bit those of `a`.
fn differing_columns(a: &RecordBatch, b: &RecordBatch) -> Option<String> {
    if a.schema() != b.schema() {
        return Some("other columns".to_owned());
    }
    if a.num_rows() != b.num_rows() {
        return Some(format!("{} and {} rows", a.num_rows(), b.num_rows()));
    }
    let schema = a.schema();
    let differing: Vec<_> =
        std::iter::zip(schema.fields(), std::iter::zip(a.columns(), b.columns()))
            .filter(|(field, _)| !field.name().starts_with("time_"))
            .filter_map(|(field, (a, b))| {
                let row = (0..a.len()).find(|&row| !same_value(a, b, row))?;
                Some(format!("{} from row {row} on", field.name()))
            })
            .collect();
    (!differing.is_empty()).then(|| format!("columns {}", differing.join(", ")))
}

/// Floats are compared by their bits: -0.0 is not 0.0, and a NaN is itself.
fn same_value(a: &ArrayRef, b: &ArrayRef, row: usize) -> bool {
    if a.is_null(row) || b.is_null(row) {
        return a.is_null(row) == b.is_null(row);
    }
    let (any_a, any_b) = (a.as_any(), b.as_any());
    if let (Some(a), Some(b)) = (any_a.downcast_ref(), any_b.downcast_ref()) {
        let (a, b): (&Float64Array, &Float64Array) = (a, b);
        return a.value(row).to_bits() == b.value(row).to_bits();
    }
    if let (Some(a), Some(b)) = (any_a.downcast_ref(), any_b.downcast_ref()) {
        let (a, b): (&Float32Array, &Float32Array) = (a, b);
        return a.value(row).to_bits() == b.value(row).to_bits();
    }
    a.slice(row, 1) == b.slice(row, 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::Int32Array;
    use parquet::arrow::ArrowWriter;
    use tempfile::TempDir;

    fn outputs(files: &[(&str, &[u8])]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, bytes) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    fn convergence(iterations: &[i32], bounds: &[f64], times: &[i32]) -> RecordBatch {
        RecordBatch::try_from_iter([
            (
                "iteration",
                Arc::new(Int32Array::from(iterations.to_vec())) as ArrayRef,
            ),
            (
                "upper_bound",
                Arc::new(Float64Array::from(bounds.to_vec())) as ArrayRef,
            ),
            (
                "time_total_ms",
                Arc::new(Int32Array::from(times.to_vec())) as ArrayRef,
            ),
        ])
        .unwrap()
    }

    #[test]
    fn equal_directories_are_equal() {
        let files: [(&str, &[u8]); 2] = [("policy/cuts/0.bin", b"abc"), ("simulation/paths", b"")];
        let (a, b) = (outputs(&files), outputs(&files));
        let outcome = compare(a.path(), b.path()).unwrap();
        assert_eq!(outcome.compared, 2);
        assert!(outcome.differences.is_empty());
    }

    #[test]
    fn one_flipped_bit_a_longer_file_and_a_missing_one_are_differences() {
        let a = outputs(&[("cuts", b"abc"), ("long", b"a"), ("gone", b"")]);
        let b = outputs(&[("cuts", b"abb"), ("long", b"ab"), ("new", b"")]);
        let outcome = compare(a.path(), b.path()).unwrap();
        assert_eq!(
            outcome.differences,
            [
                "cuts: byte 2 differs (3 and 3 bytes)",
                "gone: missing",
                "long: 1 and 2 bytes",
                "new: only here",
            ]
        );
    }

    #[test]
    fn what_says_when_and_where_is_left_out() {
        let a = outputs(&[
            ("training/metadata.json", b"a"),
            ("training/timing/t", b"1"),
        ]);
        let b = outputs(&[("training/metadata.json", b"b"), ("training/solver/s", b"")]);
        let outcome = compare(a.path(), b.path()).unwrap();
        assert_eq!((outcome.compared, outcome.left_out), (0, 3));
        assert!(outcome.differences.is_empty());
    }

    #[test]
    fn only_the_timestamp_of_a_stamped_file_is_left_out() {
        let codes = |at: &str, code: u8| format!("{{\"at\": \"{at}+00:00\", \"code\": {code}}}");
        let file = |text: &str| outputs(&[("training/dictionaries/codes.json", text.as_bytes())]);
        let a = file(&codes("2026-11-21T04:04:17.663318276", 1));
        let b = file(&codes("2026-11-21T04:04:18.7", 1));
        let c = file(&codes("2026-11-21T04:04:17.663318276", 2));
        assert!(compare(a.path(), b.path()).unwrap().differences.is_empty());
        assert_eq!(compare(a.path(), c.path()).unwrap().differences.len(), 1);
    }

    #[test]
    fn times_may_differ_and_bounds_may_not_in_their_last_bit() {
        let a = convergence(&[1, 2], &[1.0, 2.0], &[5, 6]);
        let b = convergence(&[1, 2], &[1.0, 2.0], &[7, 8]);
        assert_eq!(differing_columns(&a, &b), None);
        let c = convergence(&[1, 2], &[1.0, 2.0_f64.next_up()], &[5, 6]);
        assert_eq!(
            differing_columns(&a, &c).unwrap(),
            "columns upper_bound from row 1 on"
        );
    }

    #[test]
    fn signed_zeros_differ_and_a_nan_equals_itself() {
        let a = convergence(&[1], &[0.0], &[1]);
        let b = convergence(&[1], &[-0.0], &[1]);
        assert!(differing_columns(&a, &b).is_some());
        let nan = convergence(&[1], &[f64::NAN], &[1]);
        assert_eq!(differing_columns(&nan, &nan.clone()), None);
    }

    #[test]
    fn the_convergence_table_is_read_from_its_file() {
        let write = |bound: f64, time| {
            let dir = outputs(&[("training/x", b"")]);
            let batch = convergence(&[1], &[bound], &[time]);
            let file = File::create(dir.path().join("training/convergence.parquet")).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            dir
        };
        let (a, b, c) = (write(1.0, 1), write(1.0, 2), write(3.0, 1));
        assert!(compare(a.path(), b.path()).unwrap().differences.is_empty());
        assert_eq!(compare(a.path(), c.path()).unwrap().differences.len(), 1);
    }
}
