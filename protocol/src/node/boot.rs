//! The key of one start of a node's agent.

crate::secret::secret! {
    /// A secret that an agent makes when it starts and tells the core alone: who has it is that very process, and not a
    /// copy of the node's credentials.
    BootKey;
}
