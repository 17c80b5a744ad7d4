"""Pages for people: the portal of a tenant, and the operators' pages; rendered here, without a build step."""
