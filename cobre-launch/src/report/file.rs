//! The file of `--report`.

use std::io::Write;

use cobre_profile::Results;

use crate::error::LaunchError;
use crate::plan::Plan;
use crate::report::last_words::Report;

/// Creates the file that `--report` asks for.
pub(crate) fn create(plan: &Plan) -> Result<Option<Results>, LaunchError> {
    let Some(path) = &plan.report else {
        return Ok(None);
    };
    let failed = |source| LaunchError::Report {
        path: path.clone(),
        source,
    };
    Results::create(path).map(Some).map_err(failed)
}

/// Writes the report, instead of that of an earlier attempt.
pub(crate) fn write(
    plan: &Plan,
    file: Option<&mut Results>,
    report: Option<&Report>,
) -> Result<(), LaunchError> {
    let (Some(file), Some(report), Some(path)) = (file, report, &plan.report) else {
        return Ok(());
    };
    let mut replace = || {
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        file.begin_again()?;
        file.write_all(&text)
    };
    replace().map_err(|source| LaunchError::Report {
        path: path.clone(),
        source,
    })
}
