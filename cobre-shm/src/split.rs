//! A second communicator of the same ranks: a job of its own, formed under a random name that the
//! leader tells the others.

use cobre_comm_trait::{CommError, Operation};

use crate::{
    calls::{Element, Signature},
    collective,
    config::Config,
    control::Control,
    core::{Core, Site},
    forming, names,
};

/// Forms the child job. Collective.
pub(crate) fn split(core: &Core, site: Site) -> Result<Control, CommError> {
    if core.size() == 1 {
        return Ok(forming::solo()?);
    }
    let signature = Signature::new(Operation::SplitLocal, Element::NONE, 0);
    let mut name = names::Announced::random();
    let mut founded = None;
    core.collective(signature, site, Ok(()), |rounds| {
        if rounds.rank() == 0 {
            let staging = 2 * rounds.size() * rounds.members().geometry().slot_bytes();
            founded = Some(forming::found(name.as_str(), rounds.size(), staging, false));
            if matches!(founded, Some(Err(_))) {
                name = names::Announced::none();
            }
        }
        collective::broadcast(rounds, name.bytes_mut(), 0)?;
        // The leader too learns whether all ranks are splitting before it waits for them.
        collective::barrier(rounds)
    })?;
    if name.is_none() {
        return Err(match founded {
            Some(Err(error)) => error.into(),
            _ => CommError::InitFailed {
                message: "split_local: the leader could not create a segment; it has the details"
                    .to_owned(),
            },
        });
    }
    let config = Config::new(name.as_str(), core.rank(), core.size());
    let founded = founded.transpose()?;
    Ok(forming::join_founded(
        &config,
        founded,
        Some(core.control()),
    )?)
}
