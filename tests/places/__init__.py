"""Programs in places as people have them: folders, flags, limits, addresses. Real processes, on rings and elsewhere."""
