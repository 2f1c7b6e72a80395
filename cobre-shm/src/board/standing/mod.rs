//! Boards without a launcher: services that join by name, as a configuration file says.
//!
//! See [`Boards`] for the file. A service joins with [`Boards::join`] and publishes through
//! [`BoardMember::status`]; it, or a client with [`Board::open`], asks who is free:
//!
//! ```no_run
//! use cobre_shm::board::{State, standing::Boards};
//!
//! # fn main() -> Result<(), cobre_shm::board::standing::BoardError> {
//! let member = Boards::from_file("network_setup.json")?.join("A")?;
//! member.status().state(State::Idle);
//! if let Some(name) = member.board().least_loaded("GREEN")? {
//!     println!("work goes to {name}");
//! }
//! # Ok(())
//! # }
//! ```

mod config;
mod description;
mod error;
mod gate;
mod layout;
mod member;
mod view;

pub use self::{
    config::Boards,
    description::{Description, Field, MemberConfig},
    error::BoardError,
    member::BoardMember,
    view::{Board, LeftOver, Snapshot, Team, left_over, names, sweep},
};
