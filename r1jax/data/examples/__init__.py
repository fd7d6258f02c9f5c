"""What supervised and preference training read: conversations and judged responses, as tokens."""
