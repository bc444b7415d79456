//! Whether every state has a way out: from wherever faults led, a good end must be within reach without another one.
//! The checker looks at states one by one; this needs the graph. It finds what a dead end is too narrow for: steps
//! that go round for ever.

use std::collections::HashMap;

use stateright::Model;

use super::cases::Case;
use super::invariants::is_settled;
use super::protocol::{Action, Protocol};
use super::state::State;

/// Small enough for the suite.
pub(crate) const IN_SUITE: &[&str] = &["forever", "one_shot", "redis_losses"];

/// The number of states, or the shortest way to one that no good end can be reached from.
pub(crate) fn first(case: &Case) -> Result<usize, Vec<Action>> {
    let model = Protocol::new(case.rules, case.scope, true);
    let mut numbers: HashMap<State, u32> = HashMap::new();
    let mut states: Vec<State> = model.init_states();
    let mut came_from: Vec<Option<(u32, Action)>> = vec![None];
    // For each state those from which it is reached without a fault.
    let mut before: Vec<Vec<u32>> = vec![Vec::new()];
    numbers.insert(states[0], 0);
    let (mut here, mut actions) = (0, Vec::new());
    while here < states.len() {
        let state = states[here];
        model.progress(&state, &mut actions);
        let progress = actions.len();
        actions.clear();
        model.actions(&state, &mut actions);
        for (place, action) in actions.drain(..).enumerate() {
            let Some(next) = model.next_state(&state, action) else { continue };
            let number = *numbers.entry(next).or_insert_with(|| {
                states.push(next);
                came_from.push(Some((here as u32, action)));
                before.push(Vec::new());
                states.len() as u32 - 1
            });
            if place < progress {
                before[number as usize].push(here as u32);
            }
        }
        here += 1;
    }
    let mut ends_well: Vec<bool> = states.iter().map(|state| is_settled(&model, state)).collect();
    let mut reached: Vec<usize> = (0..states.len()).filter(|number| ends_well[*number]).collect();
    while let Some(number) = reached.pop() {
        for earlier in &before[number] {
            let earlier = *earlier as usize;
            if !std::mem::replace(&mut ends_well[earlier], true) {
                reached.push(earlier);
            }
        }
    }
    let Some(trap) = ends_well.iter().position(|well| !well) else { return Ok(states.len()) };
    let mut way = Vec::new();
    let mut number = trap;
    while let Some((earlier, action)) = came_from[number] {
        way.push(action);
        number = earlier as usize;
    }
    way.reverse();
    Err(way)
}
