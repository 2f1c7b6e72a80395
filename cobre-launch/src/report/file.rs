//! The file of `--report`.

use std::fs::File;
use std::io::{Seek, Write};

use crate::error::LaunchError;
use crate::plan::Plan;
use crate::relay::files::owner_only;
use crate::report::last_words::Report;

/// Creates the file that `--report` asks for.
pub(crate) fn create(plan: &Plan) -> Result<Option<File>, LaunchError> {
    let Some(path) = &plan.report else {
        return Ok(None);
    };
    let failed = |source| LaunchError::Report {
        path: path.clone(),
        source,
    };
    owner_only(path).map(Some).map_err(failed)
}

/// Writes the report, instead of that of an earlier attempt.
pub(crate) fn write(
    plan: &Plan,
    file: Option<&File>,
    report: Option<&Report>,
) -> Result<(), LaunchError> {
    let (Some(mut file), Some(report), Some(path)) = (file, report, &plan.report) else {
        return Ok(());
    };
    let mut replace = || {
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        if file.metadata()?.is_file() {
            file.set_len(0)?;
            file.rewind()?;
        }
        file.write_all(&text)
    };
    replace().map_err(|source| LaunchError::Report {
        path: path.clone(),
        source,
    })
}
