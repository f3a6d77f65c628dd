"""What several tests share: tiny models and data, stand-ins for servers, kills and hostile inputs."""
