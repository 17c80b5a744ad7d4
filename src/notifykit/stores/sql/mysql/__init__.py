"""The SQL store on MySQL and MariaDB."""
