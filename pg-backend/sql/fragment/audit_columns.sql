execution, generation, fence, step, at, job, scope_kind, scope_id, actor_type, actor, action, details
