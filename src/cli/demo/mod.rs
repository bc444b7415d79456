pub(super) const EXAMPLES: &str = "";
#[derive(Debug, clap::Args)]
pub(super) struct Demo {}
pub(super) async fn run(_: &Demo, _: bool) -> Result<super::Ending, crate::app::AppError> { Ok(super::Ending::Done) }
