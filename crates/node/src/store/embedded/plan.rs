//! The plan in force, which every server keeps for itself.

use mainstay_site::names::Generation;
use mainstay_site::plan::Plan;

use super::{Embedded, Error};
use crate::store::{Compare, Revision, Swap, Write};

/// The plan, as JSON.
const PLAN_KEY: &str = "plan";

/// The answer to a new plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanSwap {
    /// It is the stored plan now, or was already.
    Done,
    /// The stored plan's generation is not below the new one's.
    Stale(Generation),
}

impl Embedded {
    /// The plan in force.
    ///
    /// # Errors
    /// If the file cannot be read, or does not hold a plan.
    pub fn plan(&self) -> Result<Option<Plan>, Error> {
        Ok(self.plan_with_revision()?.map(|(_, plan)| plan))
    }

    fn plan_with_revision(&self) -> Result<Option<(Revision, Plan)>, Error> {
        let Some(entry) = self.get(PLAN_KEY)? else { return Ok(None) };
        let plan = serde_json::from_slice(&entry.value).map_err(|source| Error::Garbled { key: PLAN_KEY, source })?;
        Ok(Some((entry.changed, plan)))
    }

    /// Makes `plan` the plan in force, unless the stored one is as new.
    ///
    /// # Errors
    /// If the file cannot be read or written; the old plan is then still stored.
    pub fn put_plan(&self, plan: &Plan) -> Result<PlanSwap, Error> {
        loop {
            let compare = match self.plan_with_revision()? {
                Some((_, known)) if known == *plan => return Ok(PlanSwap::Done),
                Some((_, known)) if known.generation >= plan.generation => {
                    return Ok(PlanSwap::Stale(known.generation));
                }
                Some((revision, _)) => Compare::Changed(PLAN_KEY.into(), revision),
                None => Compare::Absent(PLAN_KEY.into()),
            };
            let value = serde_json::to_vec(plan).map_err(|source| Error::Garbled { key: PLAN_KEY, source })?;
            // On a conflict somebody wrote a plan in between: compare with that one.
            if let Swap::Done(_) =
                self.transact(&[compare], &[Write::Put { key: PLAN_KEY.into(), value, lease: None }])?
            {
                return Ok(PlanSwap::Done);
            }
        }
    }
}
