//! What the engine needs of the world, as traits. Adapters implement them; `app` puts them together.

pub mod broker;
pub mod clock;
pub mod inbox;
pub mod journal;
pub mod publisher;
pub mod quotes;
