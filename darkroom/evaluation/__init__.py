"""ROC, earth mover's distance, agreement, intervals."""
